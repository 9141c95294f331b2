import http from 'node:http'
import { z } from 'zod'
import type { ChatModelConfig } from './chat-models.ts'
import { httpUrl, integer, optional, secret } from './values.ts'

/** Spaces at its ends count, and `\\n` is a line break, which a line of `.env` cannot contain. */
const prefix = optional.transform((value) => value?.replaceAll('\\n', '\n'))

/** The languages that the tokenizer stems: `languageNames` of the database package. */
const searchLanguages = [
  'arabic',
  'danish',
  'dutch',
  'english',
  'finnish',
  'french',
  'german',
  'greek',
  'hungarian',
  'italian',
  'norwegian',
  'portuguese',
  'romanian',
  'russian',
  'spanish',
  'swedish',
  'turkish',
] as const

/** Node ignores the address of a proxy that it does not support. */
const proxy = z
  .url({ protocol: /^https?$/, error: 'must be a URL like http://proxy.example:3128' })
  .refine(() => 'setGlobalProxyFromEnv' in http, 'needs Node 24.14 or newer. Update Node')
  .optional()

/** The variables of the chat model, the embedding model and the reranker, which every program reads. */
export const models = {
  OPENAI_BASE_URL: httpUrl.default('https://api.openai.com/v1'),
  OPENAI_API_KEY: secret,
  CHAT_MODEL: optional,
  EMBEDDING_BASE_URL: httpUrl.optional(),
  EMBEDDING_API_KEY: secret,
  EMBEDDING_MODEL: optional,
  EMBEDDING_DIMENSIONS: integer(1, 16_000).optional(), // pgvector's limit for halfvec
  EMBEDDING_QUERY_PREFIX: prefix,
  EMBEDDING_DOCUMENT_PREFIX: prefix,
  RERANK_BASE_URL: httpUrl.optional(),
  RERANK_MODEL: optional,
  RERANK_API_KEY: secret,
  HTTP_PROXY: proxy,
  HTTPS_PROXY: proxy,
  http_proxy: proxy,
  https_proxy: proxy,
  NO_PROXY: optional,
  no_proxy: optional,
  SEARCH_LANGUAGE: z.enum(searchLanguages).optional(),
  MODEL_FIRST_BYTE_TIMEOUT_MS: integer(1, 3_600_000).default(120_000), // reasoning models may think for a minute or two
  MODEL_IDLE_TIMEOUT_MS: integer(1, 3_600_000).default(60_000), // between two tokens; normally far less
  MAX_ANSWER_TOKENS: integer(1, 10_000_000).default(16_384), // about 12,000 words; what vendors allow for usual chat models
  ANSWER_TIMEOUT_MS: integer(1, 86_400_000).default(600_000), // OpenAI's own clients wait no longer than ten minutes
}

export type ModelConfig = z.output<z.ZodObject<typeof models>> & WithChatModels

/** The chat models that a request may choose. Undefined in programs that do not chat. */
export type WithChatModels = { chatModels?: ChatModelConfig[] }

/** Returns the server of `EMBEDDING_MODEL`. Each key is sent to its own server only. */
export function findEmbeddingServer(env: ModelConfig) {
  return env.EMBEDDING_BASE_URL
    ? { baseUrl: env.EMBEDDING_BASE_URL, apiKey: env.EMBEDDING_API_KEY }
    : { baseUrl: env.OPENAI_BASE_URL, apiKey: env.EMBEDDING_API_KEY ?? env.OPENAI_API_KEY }
}

/** Returns the proxies for HTTP requests. As in Go, a server on this machine is never called through one. */
export function findProxies(env: ModelConfig) {
  return {
    http_proxy: env.http_proxy ?? env.HTTP_PROXY,
    https_proxy: env.https_proxy ?? env.HTTPS_PROXY,
    no_proxy: [env.no_proxy ?? env.NO_PROXY, 'localhost,127.0.0.1,::1'].filter(Boolean).join(),
  }
}

/** Reports what is missing to use the models. A refinement of every schema that contains `models`. */
export function checkModels(env: ModelConfig, context: z.RefinementCtx) {
  checkEmbeddingKey(env, context)
  checkReranker(env, context)
  for (const name of ['EMBEDDING_QUERY_PREFIX', 'EMBEDDING_DOCUMENT_PREFIX'] as const) {
    if (env[name] === undefined || env.EMBEDDING_MODEL) continue
    const message = 'needs EMBEDDING_MODEL. Set both or neither'
    context.addIssue({ code: 'custom', path: [name], message })
  }
}

/** Reports a missing key for api.openai.com at startup instead of at the first question. Local servers need no key. */
function checkEmbeddingKey(env: ModelConfig, { addIssue }: z.RefinementCtx) {
  const { baseUrl, apiKey } = findEmbeddingServer(env)
  if (!env.EMBEDDING_MODEL || apiKey !== undefined || new URL(baseUrl).hostname !== 'api.openai.com') return
  const server = env.EMBEDDING_BASE_URL ? 'EMBEDDING' : 'OPENAI'
  const message = `is required for api.openai.com. Set it, or set ${server}_BASE_URL to another server`
  addIssue({ code: 'custom', path: [`${server}_API_KEY`], message })
}

/** Returns the reranker and its server, or undefined if there is none. No other server's key is sent there. */
export function findReranker({ RERANK_BASE_URL: baseUrl, RERANK_MODEL: model, RERANK_API_KEY: apiKey }: ModelConfig) {
  return baseUrl && model ? { baseUrl, model, apiKey } : undefined
}

function checkReranker(env: ModelConfig, { addIssue }: z.RefinementCtx) {
  const report = (name: string, message: string) => addIssue({ code: 'custom', path: [name], message })
  if (env.RERANK_BASE_URL && !env.RERANK_MODEL)
    report('RERANK_MODEL', 'is required with RERANK_BASE_URL. Set it to the name of the reranker')
  for (const name of ['RERANK_MODEL', 'RERANK_API_KEY'] as const)
    if (env[name] && !env.RERANK_BASE_URL) report(name, 'needs RERANK_BASE_URL. Set both or neither')
}
