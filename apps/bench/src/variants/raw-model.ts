import { Agent, type IncomingMessage, request } from 'node:http'
import type { ChatMessage } from '@repo/llm'
import { readBytes } from './raw-text.ts'
import type { Environment } from './run.ts'

export type ModelClient = ReturnType<typeof createModelClient>

/** `node:http` with keep-alive: `fetch` costs half as much again a token. */
export function createModelClient({ modelUrl, chatModel, embeddingModel }: Environment) {
  const { hostname: host, port, pathname } = new URL(modelUrl)
  const agent = new Agent({ keepAlive: true })
  const headers = { 'content-type': 'application/json' }

  const post = (path: string, body: object) => {
    const { promise, resolve, reject } = Promise.withResolvers<IncomingMessage>()
    request({ host, port, path: pathname + path, method: 'POST', agent, headers })
      .on('response', (response) => {
        if (response.statusCode === 200) return resolve(response)
        response.resume()
        reject(new Error(`the model's server answered ${response.statusCode}`))
      })
      .on('error', reject)
      .end(JSON.stringify(body))
    return promise
  }

  return {
    /** A vector as the text that Postgres takes, cut out of the response: nobody here needs its numbers. */
    embed: async (text: string): Promise<string> => {
      const response = await post('/embeddings', { model: embeddingModel, input: [text], encoding_format: 'float' })
      const body = await readBytes(response)
      const start = body.indexOf('[', body.indexOf('"embedding":'))
      return body.slice(start, body.indexOf(']', start) + 1)
    },

    /** A completion that streams, once the model has accepted it. */
    complete: (messages: ChatMessage[]): Promise<IncomingMessage> =>
      post('/chat/completions', { model: chatModel, messages, stream: true, stream_options: { include_usage: true } }),
  }
}
