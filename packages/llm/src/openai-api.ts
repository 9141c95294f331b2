import type { ModelDescription, OnUsage, Passage } from './llm.ts'

// OpenAI's HTTP API, for clients that use it. Fields that we do not read pass through in both directions.

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
  /**
   * The passages that the messages already quote. Language models ignore them; an extractive model answers only from
   * them.
   */
  passages: Passage[]
  /** The user's words in the last message from the user, without the passages. Unset: the whole message. */
  question?: string | undefined
  /** Receives the usage of a stream, also if its client has not asked for it. The last report counts. */
  onUsage?: OnUsage | undefined
  /** Aborting it ends the model call at once. The pending promise or iteration rejects with its reason. */
  signal: AbortSignal
}

/** A model of a completion that a request may choose. */
export type CompletionModel = CompletionProvider & Omit<ModelDescription, 'capabilities'>

/** How a vendor's API completes. */
export type CompletionProvider = {
  name: string
  /** Returns one `chat.completion`. Throws an `LlmError` or an `UnsupportedParameterError`, as `stream` does. */
  complete: (request: CompletionRequest) => Promise<Record<string, unknown>>
  /**
   * Yields the chunks as JSON, without `[DONE]`. Chunks that arrive together are yielded as one batch. Resolves when
   * the model has accepted the request. The chunk without choices contains the usage and is sent only when
   * `stream_options.include_usage` is set.
   */
  stream: (request: CompletionRequest) => Promise<AsyncIterable<string[]>>
}

/** The body of `POST /embeddings`. */
type EmbeddingBody = { input: string | string[]; [parameter: string]: unknown }

export type EmbeddingModel = {
  name: string
  /**
   * Returns OpenAI's response with vectors as numbers, whatever the body's `encoding_format`. Throws as `complete`
   * does.
   */
  create: (body: EmbeddingBody, signal: AbortSignal) => Promise<EmbeddingList>
}

export type EmbeddingList = {
  data: { embedding: unknown; [key: string]: unknown }[]
  [key: string]: unknown
}

/** A parameter that the model does not support. `message` says what to do and is safe to show. */
export class UnsupportedParameterError extends Error {
  code = 'unsupported_parameter' as const
  /** A path such as `messages[0].content`. */
  param: string

  constructor(param: string, message: string) {
    super(message)
    this.name = 'UnsupportedParameterError'
    this.param = param
  }
}

/** Returns the text of a message. Several text parts are joined. */
export function readMessageText({ content }: CompletionMessage): string {
  if (typeof content === 'string') return content
  const texts = (content ?? []).flatMap(({ text }) => (typeof text === 'string' ? [text] : []))
  return texts.join('\n')
}

/** Returns whether a body asks for a last chunk with the usage. */
export function asksForUsage({ stream_options: options }: CompletionBody): boolean {
  return typeof options === 'object' && options !== null && 'include_usage' in options && options.include_usage === true
}
