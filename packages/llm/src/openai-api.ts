import type { Passage } from './llm.ts'

// OpenAI's own HTTP API, for clients that speak it. What we do not read passes through in both directions.

type ContentPart = { type: string; text?: unknown; [key: string]: unknown }

export type CompletionMessage = {
  role: string
  content?: string | ContentPart[] | null | undefined
  [key: string]: unknown
}

/** The body of `POST /chat/completions`. */
export type CompletionBody = { messages: CompletionMessage[]; [parameter: string]: unknown }

export type CompletionRequest = {
  body: CompletionBody
  /** The passages that the messages already quote. Language models ignore them; a model that only quotes answers from them. */
  passages: Passage[]
  /** Aborting it ends the model call at once; the pending promise or iteration rejects with its reason. */
  signal: AbortSignal
}

export type CompletionModel = {
  name: string
  /** One `chat.completion`. Throws an `LlmError` or an `UnsupportedParameterError`, as `stream` does. */
  complete: (request: CompletionRequest) => Promise<Record<string, unknown>>
  /**
   * The chunks as JSON, without `[DONE]`: those that came together come together. Resolves once the model has accepted the
   * request. One without choices tells the usage, and comes only when `stream_options.include_usage` asks for it.
   */
  stream: (request: CompletionRequest) => Promise<AsyncIterable<string[]>>
}

/** The body of `POST /embeddings`. */
type EmbeddingBody = { input: string | string[]; [parameter: string]: unknown }

export type EmbeddingModel = {
  name: string
  /** OpenAI's answer with the vectors as numbers, whatever the body's `encoding_format`. Throws as `complete` does. */
  create: (body: EmbeddingBody, signal: AbortSignal) => Promise<EmbeddingList>
}

export type EmbeddingList = {
  data: { embedding: unknown; [key: string]: unknown }[]
  [key: string]: unknown
}

/** A parameter that the model cannot honour. `message` says what to do, and is safe to show. */
export class UnsupportedParameterError extends Error {
  code = 'unsupported_parameter' as const
  /** As in `messages[0].content`. */
  param: string

  constructor(param: string, message: string) {
    super(message)
    this.name = 'UnsupportedParameterError'
    this.param = param
  }
}

/** The text of a message; that of its text parts, where it has several. */
export function readMessageText({ content }: CompletionMessage): string {
  if (typeof content === 'string') return content
  const texts = (content ?? []).flatMap(({ text }) => (typeof text === 'string' ? [text] : []))
  return texts.join('\n')
}

/** Whether a body asks for a last chunk with the usage. */
export function asksForUsage({ stream_options: options }: CompletionBody): boolean {
  return typeof options === 'object' && options !== null && 'include_usage' in options && options.include_usage === true
}
