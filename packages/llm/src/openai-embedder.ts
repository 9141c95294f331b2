import { hash } from 'node:crypto'
import { readText } from './http/http-call.ts'
import type { HttpClient } from './http/http-client.ts'
import { isObject, parseJson } from './json.ts'
import type { Embedder, OnUsage } from './llm.ts'
import { LlmError, mayBeTooLong, surelyAccepted } from './llm.ts'
import { createFormatError } from './response-kind.ts'
import { readInputUsage } from './usage.ts'
import { readVendorError } from './vendor-error.ts'

/** Gemini accepts 100 texts, OpenAI 2,048, and a request stays within a few hundred kilobytes. */
const maxBatchSize = 96

/** A question has at most 32 times the length that the model accepts: 512 tokens of 16,000, a long pasted text. */
const maxHalvings = 5

export type EmbeddingPrefixes = { query?: string | undefined; document?: string | undefined }
type CallOptions = { signal?: AbortSignal | undefined; onUsage?: OnUsage | undefined }
type EmbedderOptions = { dimensions?: number | undefined; prefixes?: EmbeddingPrefixes | undefined }

/** OpenAI's own models, also under the names that routers use. Their vocabulary is published (cl100k). */
const cl100kModels = /(^|\/)text-embedding-(3-small|3-large|ada-002)$/

/**
 * Creates an embedder that uses `POST /embeddings` with batches of 96, one at a time. A rejected batch is halved,
 * because vendors do not report their limits: Mistral accepts 16,384 tokens per request, TEI 32 texts, Alibaba 10.
 * `dimensions` is requested, verified, and part of the name, so that vectors of two widths are never mixed. So is the
 * prefix of documents, which changes their vectors.
 */
export function createOpenAiEmbedder(
  http: HttpClient,
  model: string,
  { dimensions, prefixes: { query = '', document = '' } = {} }: EmbedderOptions = {},
): Embedder {
  let knownBatchSize = maxBatchSize

  const post = async (input: string[], { signal, onUsage }: CallOptions) => {
    const body = { model, input, encoding_format: 'float', ...(dimensions && { dimensions }) }
    const response = await readText(await http.post('/embeddings', body, signal))
    const usage = onUsage && readInputUsage(response)
    if (usage) onUsage(usage)
    return response
  }
  const embedBatch = async (texts: string[], options: CallOptions) => {
    const input = texts.map((text) => document + text)
    return readVectors(await post(input, options), input.length)
  }
  /** Vendors neither cut a question that is too long nor report their limit. Its beginning usually says what it is about. */
  const embedShortened = async (text: string, options: CallOptions, halvings = maxHalvings): Promise<string> => {
    try {
      return readOnlyVector(await post([query + text], options))
    } catch (error) {
      const isTooLong = mayBeTooLong(error) || (error instanceof LlmError && error.status === 500) // llama.cpp sends 500
      if (!isTooLong || halvings === 0 || text.length <= surelyAccepted) throw error
      return embedShortened(text.slice(0, Math.ceil(text.length / 2)).toWellFormed(), options, halvings - 1)
    }
  }
  const assertWidth = (width: number, wanted = dimensions) => {
    if (wanted && width !== wanted)
      throw new LlmError('model_protocol', 'the model sent a vector with an unexpected number of dimensions')
  }

  return {
    name: `${model}${dimensions ? `@${dimensions}` : ''}${document ? `#${hash('sha256', document).slice(0, 8)}` : ''}`,
    model,
    ...(cl100kModels.test(model) && { loadTokenCounter }),
    embed: async (texts, signal, onUsage) => {
      const vectors: number[][] = []
      let batchSize = knownBatchSize
      while (vectors.length < texts.length) {
        const batch = texts.slice(vectors.length, vectors.length + batchSize)
        try {
          vectors.push(...(await embedBatch(batch, { signal, onUsage })))
        } catch (error) {
          if (!mayBeTooLong(error) || batch.length === 1) throw error
          batchSize = Math.ceil(batch.length / 2)
        }
      }
      knownBatchSize = Math.min(knownBatchSize, batchSize)
      for (const vector of vectors) assertWidth(vector.length, dimensions ?? vectors[0]?.length)
      return vectors
    },
    embedQuery: async (text, signal, onUsage) => {
      const vector = await embedShortened(text, { signal, onUsage })
      assertWidth(countNumbers(vector))
      return vector
    },
  }
}

async function loadTokenCounter() {
  const { countTokens } = await import('gpt-tokenizer/encoding/cl100k_base')
  return (text: string) => countTokens(text, { disallowedSpecial: new Set() }) // `<|endoftext|>` is ordinary text
}

/**
 * Returns the vectors of one response in the order of the texts. Gemini omits an index of 0, and some servers omit
 * every index.
 */
function readVectors(text: string, count: number): number[][] {
  const body = parseJson(text)
  const failure = readVendorError(body)
  if (failure) throw failure
  if (!isObject(body) || !Array.isArray(body.data)) throw createFormatError(text, 'vectors')
  const items: unknown[] = body.data
  const byIndex = new Map<unknown, number[]>()
  for (const [position, item] of items.entries()) {
    if (isObject(item) && isVector(item.embedding)) byIndex.set(item.index ?? position, item.embedding)
  }
  return Array.from({ length: count }, (_, index) => {
    const vector = byIndex.get(index)
    if (!vector) throw new LlmError('model_protocol', 'the model did not send a vector for every text')
    return vector
  })
}

const plainNumber = '-?(?:0|[1-9]\\d{0,9})(?:\\.\\d+)?(?:[eE]-\\d+)?' // small enough for Postgres
const plainVector = new RegExp(`^\\[${plainNumber}(?:,${plainNumber})*\\]$`)

/**
 * Returns the single vector of a response. If possible it is cut out of the response text, because parsing and printing
 * 384 numbers takes 80 µs, as long as a query.
 */
function readOnlyVector(body: string): string {
  const start = body.indexOf('[', body.indexOf('"embedding":'))
  const json = body.slice(start, body.indexOf(']', start) + 1)
  return plainVector.test(json) ? json : JSON.stringify(readVectors(body, 1)[0])
}

function countNumbers(json: string): number {
  let count = 1
  for (let comma = json.indexOf(','); comma !== -1; comma = json.indexOf(',', comma + 1)) count += 1
  return count
}

function isVector(value: unknown): value is number[] {
  return Array.isArray(value) && value.length > 0 && value.every(Number.isFinite)
}
