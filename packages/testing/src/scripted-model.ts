import { PassThrough } from 'node:stream'
import { type AnswerEvent, type ChatRequest, createLlm, type Llm } from '@repo/llm'
import { vi } from 'vitest'

type SpokenAnswer = {
  request: ChatRequest
  say: (text: string) => void
  think: (text: string) => void
  end: () => void
  fail: (error: Error) => void
}

/** A chat model whose answers the test speaks, delta by delta; the embedder is the offline one. */
export function createSpokenModel() {
  const answers: SpokenAnswer[] = []
  const stream = async (request: ChatRequest) => {
    const events = new PassThrough({ objectMode: true, highWaterMark: 100_000 })
    const write = (event: AnswerEvent) => void events.write([event])
    request.signal.throwIfAborted()
    request.signal.addEventListener('abort', () => events.destroy(request.signal.reason))
    answers.push({
      request,
      say: (text) => write({ type: 'text-delta', text }),
      think: (text) => write({ type: 'reasoning-delta', text }),
      end: () => events.end([{ type: 'finish', finishReason: 'stop' }]),
      fail: (error) => void events.destroy(error),
    })
    return events
  }
  const { embedder, completions, embeddings, close } = createLlm({
    baseUrl: 'http://127.0.0.1:9',
    beforeCall: () => {},
    firstByteTimeoutMs: 1000,
    idleTimeoutMs: 1000,
  })
  const llm: Llm = { chat: { name: 'spoken', stream }, embedder, completions, embeddings, close }
  return {
    llm,
    answers,
    /** The answer to the next question, once the app has asked it. */
    takeAnswer: (): Promise<SpokenAnswer> =>
      vi.waitFor(() => answers.shift() ?? Promise.reject(new Error('no question')), 10_000),
  }
}
