import type { ResponseInfo } from './response-info.ts'

/** A call that a model asked for. `input` is the model's JSON, unchecked. */
export type ToolCall = { toolCallId: string; toolName: string; input: string }

/** Returns the URL of an image, also a `data:` URL. Called for each model call, so no megabytes are kept while it answers. */
export type Image = () => Promise<string>

/** One message of a prompt. `content` of a `tool` message is the result of the call. */
export type ChatMessage =
  | { role: 'system'; content: string }
  | { role: 'user'; content: string; images?: Image[] }
  | { role: 'assistant'; content: string; toolCalls?: ToolCall[] }
  | { role: 'tool'; content: string; toolCallId: string }

/** A tool as a model sees it. `parameters` is the JSON schema of its input. */
export type ToolDefinition = { name: string; description: string; parameters: object }

/** A part of a document that an answer may cite as `[n]`. */
export type Passage = { n: number; title: string; text: string }

export type ChatRequest = {
  messages: ChatMessage[]
  /**
   * The passages that `messages` already quote. Language models ignore them; an extractive model answers only from
   * them.
   */
  passages: Passage[]
  /** The user's words in the last message from the user, without the passages. Unset: the whole message. */
  question?: string | undefined
  /** The tools that the model may call. */
  tools?: ToolDefinition[]
  /** Whether the model must answer without calling a tool. */
  mustAnswer?: boolean
  /** Aborting it ends the model call at once. The pending promise or iteration rejects with its reason. */
  signal: AbortSignal
}

export type FinishReason = 'stop' | 'length' | 'content-filter' | 'tool-calls' | 'other'
export type Usage = {
  inputTokens: number
  outputTokens: number
  /** Those of `inputTokens` that the model server read from its prompt cache. Undefined if it does not report them. */
  cachedInputTokens?: number
  /** Those of `outputTokens` that the model spent on reasoning. Undefined if the server does not report them. */
  reasoningTokens?: number
}

/** Receives the tokens of one call, if the model server reports them. */
export type OnUsage = (usage: Usage) => void

export type AnswerEvent =
  | { type: 'text-delta'; text: string }
  | { type: 'reasoning-delta'; text: string }
  | { type: 'tool-input-start'; toolCallId: string; toolName: string }
  | { type: 'tool-input-delta'; toolCallId: string; delta: string }
  | ({ type: 'tool-call' } & ToolCall) // complete
  | { type: 'finish'; finishReason: FinishReason; usage?: Usage; response?: ResponseInfo }

/** What a chat model supports. */
export type Capabilities = {
  images: boolean
  tools: boolean
  /** Whether the model thinks before it answers. For clients only: reasoning is passed on in any case. */
  reasoning: boolean
}

/** What is known about a chat model besides its name. */
export type ModelDescription = {
  capabilities: Capabilities
  /** The size of its context, prompt and answer together. Unset: unknown. */
  contextTokens?: number | undefined
  /** The token limit of one answer, reasoning included. Unset: none. */
  maxAnswerTokens?: number | undefined
  /** The name of the model that answers when this one fails before its first event. */
  fallback?: string | undefined
}

/** A chat model that a request may choose. */
export type ChatModel = ChatProvider & ModelDescription

/** How a vendor's API streams answers. */
export type ChatProvider = {
  name: string
  /**
   * Resolves when the model has accepted the request (HTTP 2xx), before its first token. Events that arrive together
   * are yielded as one batch. The iteration ends after exactly one `finish`, or throws an `LlmError`.
   */
  stream: (request: ChatRequest) => Promise<AsyncIterable<AnswerEvent[]>>
}

export type Embedder = {
  /** Stored in each row, so that vectors of two models are never mixed. */
  name: string
  /** The name of the model alone. Default: `name`. */
  model?: string
  /** The weight of vector similarity relative to the keyword score, from 0 to 1 (equal). Default: 1. */
  weight?: number
  /** Returns one vector per text, in order, all of the same width. Throws an `LlmError`. */
  embed: (texts: string[], signal?: AbortSignal, onUsage?: OnUsage) => Promise<number[][]>
  /** Returns the vector of a search query as JSON, `[0.1,-0.2]`, which Postgres can read. Throws an `LlmError`. */
  embedQuery: (text: string, signal?: AbortSignal, onUsage?: OnUsage) => Promise<string>
  /** Counts tokens in the model's own vocabulary, if it is known. Loaded on demand because it takes 45 MB. */
  loadTokenCounter?: () => Promise<(text: string) => number>
}

/** A text by its position in a list, and how well it answers a question. Scores are comparable within one call only. */
export type RankedText = { index: number; score: number }

export type Reranker = {
  name: string
  /** Returns the best `limit` of the texts, or all if there are fewer, best first. Throws an `LlmError`. */
  rerank: (
    question: string,
    texts: string[],
    limit: number,
    signal?: AbortSignal,
    onUsage?: OnUsage,
  ) => Promise<RankedText[]>
}

const advice = {
  model_unauthorized: "Check the API key and the account's credit.", // 401, 402, 403
  model_rejected: 'Check the model name, the API key and the length of the text.', // another 4xx; Gemini's wrong key
  context_length_exceeded: 'Send less text, start a new conversation, or use a model with a larger context.', // 413, or another status whose text says so
  model_rate_limited: 'Try again later.', // 429, or a quota
  model_failed: 'Try again.', // 5xx, or an error event in the stream
  model_unreachable: 'Check the base URL, and that the server is running.', // no connection, or a lost one
  model_timeout: 'Try again, or allow the model more time.', // no first byte, or a gap between two bytes, before the deadline
  model_protocol: 'Check that the base URL is that of an OpenAI-compatible server.', // another format, or truncated
}

export type LlmErrorCode = keyof typeof advice

/**
 * A failed model call. `message` is our own text, says what to do and is safe to show: it contains no vendor text,
 * prompt or key.
 */
export class LlmError extends Error {
  code: LlmErrorCode
  /** The vendor's HTTP status, also if it was sent as the code of an error in a 2xx response. */
  status: number | undefined
  /** From the vendor's `Retry-After`, in seconds. */
  retryAfterSeconds: number | undefined

  /** `what` says what happened and may be shown to users. The advice for `code` is appended as a sentence. */
  constructor(code: LlmErrorCode, what: string, details: { status?: number; retryAfterSeconds?: number } = {}) {
    super(`${what.charAt(0).toUpperCase()}${what.slice(1)}. ${advice[code]}`)
    this.name = 'LlmError'
    this.code = code
    this.status = details.status
    this.retryAfterSeconds = details.retryAfterSeconds
  }
}

/** In UTF-16 units. Every model accepts a text of this length, so it was rejected for another reason. */
export const surelyAccepted = 200

/** Statuses that vendors send for a text that is too long, and some of them for any other invalid request. */
const refusals: unknown[] = [400, 413, 422]

/** Returns whether a model may have rejected its input as too long. Not every server says so. */
export function mayBeTooLong(error: unknown): boolean {
  return error instanceof LlmError && (error.code === 'context_length_exceeded' || refusals.includes(error.status))
}
