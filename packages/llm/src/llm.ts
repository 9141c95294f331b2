/** One turn as the model sees it; the wire format of every OpenAI-compatible vendor. */
export type ChatMessage = { role: 'system' | 'user' | 'assistant'; content: string }

/** A piece of a document that an answer may cite as `[n]`. */
export type Passage = { n: number; title: string; text: string }

export type ChatRequest = {
  messages: ChatMessage[]
  /** The passages that `messages` already quote. Language models ignore them; a model that only quotes answers from them. */
  passages: Passage[]
  /** Aborting it ends the model call at once; the pending promise or iteration rejects with its reason. */
  signal: AbortSignal
}

export type FinishReason = 'stop' | 'length' | 'content-filter' | 'tool-calls' | 'other'
export type Usage = { inputTokens: number; outputTokens: number }

export type AnswerEvent =
  | { type: 'text-delta'; text: string }
  | { type: 'reasoning-delta'; text: string }
  | { type: 'finish'; finishReason: FinishReason; usage?: Usage }

export type ChatModel = {
  name: string
  /**
   * Resolves once the model has accepted the request (HTTP 2xx), before its first token.
   * Events that came together come together. The iteration ends after exactly one `finish`, or throws an `LlmError`.
   */
  stream: (request: ChatRequest) => Promise<AsyncIterable<AnswerEvent[]>>
}

export type Embedder = {
  /** Stored in each row, so that vectors of two models never mix. */
  name: string
  /** How much nearness counts beside the words, from 0 to 1. Unset = as much. */
  weight?: number
  /** One vector a text, in order, all of one width. Throws an `LlmError`. */
  embed: (texts: string[], signal?: AbortSignal) => Promise<number[][]>
  /** The vector of what is searched for as JSON, `[0.1,-0.2]`: Postgres reads it so. Throws an `LlmError`. */
  embedQuery: (text: string, signal?: AbortSignal) => Promise<string>
  /** Counts a text's tokens in the model's own vocabulary, where that is known. Loaded when it is asked for: 45 MB. */
  loadTokenCounter?: () => Promise<(text: string) => number>
}

const advice = {
  model_unauthorized: 'check its key, and that the account has credit', // 401, 402, 403
  model_rejected: 'check its name and key, and whether the text is longer than it takes', // another 4xx; Gemini's wrong key
  model_rate_limited: 'try again later', // 429
  model_failed: 'try again', // 5xx, or an error event inside the stream
  model_unreachable: 'check its base URL, and that it runs', // no connection, or it broke
  model_timeout: 'try again, or allow it more time', // no first byte, or a gap between two, beyond the deadline
  model_protocol: 'check that its base URL is that of an OpenAI-compatible server', // another format, or cut short
}

export type LlmErrorCode = keyof typeof advice

/** A model call that failed. `message` is ours, says what to do and is safe to show: no vendor's text, prompt or key. */
export class LlmError extends Error {
  code: LlmErrorCode
  /** The vendor's HTTP status, where there was one. */
  status: number | undefined
  /** From the vendor's `Retry-After`, in seconds. */
  retryAfterSeconds: number | undefined

  /** `what` happened, in words that may be shown; the advice that fits `code` is added. */
  constructor(code: LlmErrorCode, what: string, details: { status?: number; retryAfterSeconds?: number } = {}) {
    super(`${what.charAt(0).toUpperCase()}${what.slice(1)}: ${advice[code]}.`)
    this.name = 'LlmError'
    this.code = code
    this.status = details.status
    this.retryAfterSeconds = details.retryAfterSeconds
  }
}
