import { once } from 'node:events'
import { createServer } from 'node:http'
import { createOpenAI } from '@ai-sdk/openai'
import { generateText, streamText } from 'ai'
import OpenAI from 'openai'
import type { Ask } from './testing-bugs.ts'

/** Starts a model server, which counts its requests. */
export async function startModel() {
  let count = 0
  const server = createServer(async (request, response) => {
    count += 1
    const body: { stream?: boolean } = JSON.parse((await readAll(request)) || '{}')
    response.writeHead(200, { 'content-type': body.stream ? 'text/event-stream' : 'application/json' })
    response.end(body.stream ? `data: ${JSON.stringify(chunk)}\n\ndata: [DONE]\n\n` : JSON.stringify(completion))
  }).listen(0, '127.0.0.1')
  await once(server, 'listening')
  const url = `http://127.0.0.1:${Object(server.address()).port}`
  return { url, count: () => count, close: () => server.close() }
}

async function readAll(stream: AsyncIterable<unknown>): Promise<string> {
  let text = ''
  for await (const part of stream) text += part
  return text
}

const common = { id: 'a', created: 1, model: 'm' }
const message = { role: 'assistant', content: 'Yes.' }
const completion = {
  ...{ ...common, object: 'chat.completion' },
  choices: [{ index: 0, finish_reason: 'stop', message }],
  usage: { prompt_tokens: 1, completion_tokens: 1, total_tokens: 2 },
}
const chunk = {
  ...{ ...common, object: 'chat.completion.chunk' },
  choices: [{ index: 0, finish_reason: 'stop', delta: message }],
}

/** The ways in which applications call a model. */
export function createCallers(url: string): Record<string, Ask> {
  const openai = new OpenAI({ baseURL: url, apiKey: 'a', maxRetries: 0 })
  const model = createOpenAI({ baseURL: url, apiKey: 'a' }).chat('m')
  const prompt = { model: 'm', messages: [] }
  return {
    fetch: async ({ stream } = { stream: false }) => {
      const response = await fetch(`${url}/chat/completions`, { method: 'POST', body: JSON.stringify({ stream }) })
      return response.text()
    },
    openai: async ({ stream } = { stream: false }) => {
      if (!stream) return openai.chat.completions.create(prompt)
      return readAll(await openai.chat.completions.create({ ...prompt, stream }))
    },
    'AI SDK': async ({ stream } = { stream: false }) => {
      const options = { model, prompt: 'Why?', maxRetries: 0 }
      if (!stream) return generateText(options)
      return readAll(streamText({ ...options, onError: () => {} }).textStream)
    },
  }
}
