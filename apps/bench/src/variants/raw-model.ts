import { Agent, type IncomingMessage, request } from 'node:http'
import type { ChatMessage } from '@repo/llm'
import { readBytes } from './raw-text.ts'
import type { Environment } from './run.ts'

export type ModelClient = ReturnType<typeof createModelClient>

/** Creates a model client on `node:http` with keep-alive, because `fetch` uses more CPU per token. */
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
        reject(new Error(`The model server responded with ${response.statusCode}.`))
      })
      .on('error', reject)
      .end(JSON.stringify(body))
    return promise
  }

  return {
    /** Returns a vector as text for Postgres, cut out of the response without parsing its numbers. */
    embed: async (text: string): Promise<string> => {
      const response = await post('/embeddings', { model: embeddingModel, input: [text], encoding_format: 'float' })
      const body = await readBytes(response)
      const start = body.indexOf('[', body.indexOf('"embedding":'))
      return body.slice(start, body.indexOf(']', start) + 1)
    },

    /** Returns a streaming completion once the model has accepted the request. */
    complete: (messages: ChatMessage[]): Promise<IncomingMessage> =>
      post('/chat/completions', { model: chatModel, messages, stream: true, stream_options: { include_usage: true } }),
  }
}
