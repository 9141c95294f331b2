import { openChatApi } from './chat-api.ts'
import { guardChat, guardCompletions, guardEmbedder, guardEmbeddings, guardReranker } from './guard.ts'
import { createHttpClient, type HttpClient } from './http/http-client.ts'
import { findUnlistedModels } from './listed-models.ts'
import type { Capabilities, ChatModel, ModelDescription } from './llm.ts'
import type { Llm, Models } from './models.ts'
import type { CompletionModel } from './openai-api.ts'
import { createOpenAiChat } from './openai-chat.ts'
import { createOpenAiCompletions, rejectCompletions } from './openai-completions.ts'
import { createOpenAiEmbedder, type EmbeddingPrefixes } from './openai-embedder.ts'
import { createOpenAiEmbeddings } from './openai-embeddings.ts'
import { createReranker, rerankTimeoutMs } from './reranker.ts'
import { toTokenLimit } from './token-limit.ts'

export { readChunkEnd, readCompletionEnd } from './completion-end.ts'
export { callWithFallback, type Fallback, streamWithFallback } from './fallback.ts'
export { takeTurn } from './http/turns.ts'
export { listJsonParts } from './http/write-json.ts'
export * from './llm.ts'
export { measureChunk } from './measure-chunk.ts'
export { meterEmbedder, meterReranker, type OnCall } from './meter.ts'
export { type Llm, type Models, toLlm } from './models.ts'
export {
  asksForUsage,
  type CompletionBody,
  type CompletionMessage,
  type CompletionModel,
  type CompletionRequest,
  type EmbeddingList,
  type EmbeddingModel,
  readMessageText,
  UnsupportedParameterError,
} from './openai-api.ts'
export { createAnswerDecoder } from './openai-chat.ts'
export type { ResponseInfo } from './response-info.ts'
export { estimateTokens, readInputUsage, readUsage, toTokens } from './usage.ts'

type ModelServer = {
  /** The base URL of the model server, e.g. `https://api.openai.com/v1`. */
  baseUrl: string
  apiKey?: string | undefined
}

/** A chat model and its server. `name` is what clients send, `model` what the server receives. */
export type ChatModelOptions = ModelServer &
  Omit<ModelDescription, 'capabilities'> & {
    name: string
    model: string
    capabilities?: Capabilities | undefined
    /** A file of `apis/`, without `.ts`. Unset: OpenAI's chat completions. */
    api?: string | undefined
  }

export type LlmOptions = ModelServer & {
  /** The embedding model's server. Unset: the chat model's server. A key is never sent to the other server. */
  embeddingServer?: ModelServer | undefined
  /** The server and the name of a reranker. It gets no other server's key. Unset: none. */
  reranker?: (ModelServer & { model: string }) | undefined
  /** Unset: the fallback's model. Chat and embedding models are independent of each other. */
  chatModel?: string
  embeddingModel?: string
  /** Further chat models. One with the name `chatModel` describes the default model. */
  chatModels?: ChatModelOptions[] | undefined
  /** The models to use when none is named. */
  fallback?: Models
  /** Sent to the vendor as `dimensions`. Unset: the model's default width. */
  embeddingDimensions?: number
  /** What the embedding model expects before each question and each text of a document. */
  embeddingPrefixes?: EmbeddingPrefixes
  /**
   * Called before every model or embedder call. An error that it throws prevents the call; the database uses this as a
   * guard.
   */
  beforeCall: () => void
  /** Deadline for the first byte of a chat answer, or for a whole embedding response. */
  firstByteTimeoutMs: number
  /** Deadline between two reads of a stream. */
  idleTimeoutMs: number
  /** The token limit per answer, sent to the server of chat models that have none of their own. Unset: none is sent. */
  maxAnswerTokens?: number
  /** Returns the headers of one call, for example its trace context. Called once per call. */
  callHeaders?: (() => Record<string, string>) | undefined
  /** `http_proxy`, `https_proxy` and `no_proxy` for all servers. */
  proxies?: NodeJS.ProcessEnv | undefined
}

type ChatPair = Pick<Models, 'chat' | 'completions'>
type Connect = (server: ModelServer, firstByteTimeoutMs?: number) => HttpClient

/** Nearly all servers support tools, and most current models images. A server that does not responds with an error. */
const defaultCapabilities: Capabilities = { images: true, tools: true, reasoning: false }

/** Returns the named models, which are OpenAI-compatible, or the fallback's. Throws if there is neither. */
export function createLlm(options: LlmOptions): Llm {
  const { connect, close } = createClients(options)
  const { beforeCall } = options
  const chatModels = new Map<string, ChatModel>()
  const completionModels = new Map<string, CompletionModel>()
  const pairs = chooseChats(options, connect).map(({ chat, completions }) => ({
    chat: guardChat(chat, beforeCall),
    completions: guardCompletions(completions, beforeCall),
  }))
  for (const { chat, completions } of pairs) {
    if (chatModels.has(chat.name)) throw new Error(`Two chat models are named ${chat.name}. Rename one in CHAT_MODELS.`)
    chatModels.set(chat.name, chat)
    completionModels.set(chat.name, completions)
  }
  const [chosen] = pairs
  if (!chosen) throw new Error('No chat model is configured. Set CHAT_MODEL, and OPENAI_BASE_URL or OPENAI_API_KEY.')
  const { embedder, embeddings } = chooseEmbedder(options, connect(options.embeddingServer ?? options))
  return {
    ...chosen,
    embedder: guardEmbedder(embedder, beforeCall),
    embeddings: guardEmbeddings(embeddings, beforeCall),
    reranker: openReranker(options, connect),
    chatModels,
    completionModels,
    findUnlistedModels: (signal) => findUnlistedModels(listModels(options, connect), signal),
    close,
  }
}

/** Models with the same server, key and timeout share one HTTP client. */
function createClients(options: LlmOptions) {
  const clients = new Map<string, HttpClient>()
  const connect: Connect = ({ baseUrl, apiKey }, firstByteTimeoutMs = options.firstByteTimeoutMs) => {
    const key = JSON.stringify([baseUrl.replace(/\/+$/, ''), apiKey, firstByteTimeoutMs])
    const client = clients.get(key) ?? createHttpClient({ ...options, baseUrl, apiKey, firstByteTimeoutMs })
    clients.set(key, client)
    return client
  }
  const close = () => {
    for (const client of clients.values()) client.close()
  }
  return { connect, close }
}

/** Returns all models on servers with OpenAI's API. */
function listModels(options: LlmOptions, connect: Connect) {
  const { chatModel: model, chatModels = [], embeddingModel, embeddingServer = options } = options
  const own = model && !chatModels.some(({ name }) => name === model) ? [{ ...options, model }] : []
  const embedding = embeddingModel ? [{ ...embeddingServer, model: embeddingModel }] : []
  const servers = [...own, ...chatModels.filter(({ api }) => api === undefined), ...embedding]
  return servers.map((server) => ({ model: server.model, http: connect(server) }))
}

/** Returns the chat models, the default one first, or none if there is no default. */
function chooseChats(options: LlmOptions, connect: Connect): ChatPair[] {
  const { chatModel: own, chatModels = [], fallback, baseUrl, apiKey, maxAnswerTokens } = options
  const described = chatModels.find(({ name }) => name === own)
  const others = chatModels.filter(({ name }) => name !== own).map((model) => createChat(model, options, connect))
  if (own) return [createChat(described ?? { name: own, model: own, baseUrl, apiKey }, options, connect), ...others]
  if (!fallback) return []
  const { chat, completions } = fallback
  return [{ chat: { maxAnswerTokens, ...chat }, completions: { maxAnswerTokens, ...completions } }, ...others]
}

function createChat(
  { name, model, api, ...details }: ChatModelOptions,
  { maxAnswerTokens: defaultLimit }: LlmOptions,
  connect: Connect,
): ChatPair {
  const { capabilities = defaultCapabilities, contextTokens, maxAnswerTokens = defaultLimit, fallback } = details
  const limit = maxAnswerTokens ? toTokenLimit(details.baseUrl, maxAnswerTokens) : undefined
  const description = { name, contextTokens, maxAnswerTokens, fallback }
  const http = connect(details)
  return {
    chat: {
      ...(api ? openChatApi(api, http, model, limit) : createOpenAiChat(http, model, limit)),
      ...description,
      capabilities,
    },
    completions: { ...(api ? rejectCompletions(name) : createOpenAiCompletions(http, model, limit)), ...description },
  }
}

function chooseEmbedder(
  { embeddingModel: name, embeddingDimensions: dimensions, embeddingPrefixes: prefixes, fallback }: LlmOptions,
  http: HttpClient,
): Pick<Models, 'embedder' | 'embeddings'> {
  if (name) {
    return {
      embedder: createOpenAiEmbedder(http, name, { dimensions, prefixes }),
      embeddings: createOpenAiEmbeddings(http, name, dimensions),
    }
  }
  if (fallback) return fallback
  throw new Error('No embedding model is configured. Set EMBEDDING_MODEL, and EMBEDDING_BASE_URL if it runs elsewhere.')
}

function openReranker({ reranker, firstByteTimeoutMs, beforeCall }: LlmOptions, connect: Connect) {
  if (!reranker) return undefined
  const http = connect(reranker, Math.min(rerankTimeoutMs, firstByteTimeoutMs))
  return guardReranker(createReranker(http, reranker.model), beforeCall)
}
