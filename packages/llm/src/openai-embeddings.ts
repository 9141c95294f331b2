import { readText } from './http/http-call.ts'
import type { HttpClient } from './http/http-client.ts'
import { takeTurn } from './http/turns.ts'
import { isObject, parseJson } from './json.ts'
import { LlmError } from './llm.ts'
import type { EmbeddingList, EmbeddingModel } from './openai-api.ts'
import { createFormatError } from './response-kind.ts'
import { readVendorError } from './vendor-error.ts'

const textsPerCall = 32 // with 3,072 dimensions each, 1 MB of JSON, which is parsed in a few ms
const concurrentCalls = 4 // hides the server's latency and stays below the limits of small accounts

/**
 * Forwards a client's own `POST /embeddings` to the model's server. Many texts are split into several calls, because
 * parsing one large response would block the event loop. `dimensions` applies to clients that set none.
 */
export function createOpenAiEmbeddings(http: HttpClient, model: string, dimensions?: number): EmbeddingModel {
  const call = async (body: object, input: string | string[], signal: AbortSignal) => {
    // Not every server supports base64, so numbers are requested and encoded here.
    const request = { ...(dimensions && { dimensions }), ...body, input, model, encoding_format: 'float' }
    const text = await readText(await http.post('/embeddings', request, signal))
    await takeTurn()
    return readList(text, [input].flat().length)
  }
  return {
    name: model,
    create: async ({ input, ...body }, signal) => {
      if (typeof input === 'string' || input.length <= textsPerCall) return call(body, input, signal)
      const failed = new AbortController() // one failed call cancels the others
      const either = AbortSignal.any([signal, failed.signal])
      const starts = Array.from({ length: Math.ceil(input.length / textsPerCall) }, (_, n) => n * textsPerCall)
      const lists: EmbeddingList[] = []
      const queue = starts.entries()
      const work = async () => {
        for (const [n, start] of queue) lists[n] = await call(body, input.slice(start, start + textsPerCall), either)
      }
      try {
        await Promise.all(Array.from({ length: concurrentCalls }, work))
      } catch (error) {
        failed.abort(error)
        throw error
      }
      return mergeLists(lists)
    },
  }
}

/** Merges the responses of several calls: continues the numbers of their vectors, and adds up their usage. */
function mergeLists(lists: EmbeddingList[]): EmbeddingList {
  const usage: Record<string, number> = {}
  for (const list of lists)
    for (const [name, count] of Object.entries(Object(list.usage)))
      if (typeof count === 'number') usage[name] = (usage[name] ?? 0) + count
  const data = lists.flatMap((list, n) =>
    list.data.map((item) => ({ ...item, index: n * textsPerCall + Number(item.index) })),
  )
  return { ...lists[0], ...(lists[0]?.usage !== undefined && { usage }), data }
}

/** Gemini omits an index of 0, and some servers omit every index. */
function readList(text: string, count: number): EmbeddingList {
  const list = parseJson(text)
  const failure = readVendorError(list)
  if (failure) throw failure
  if (!isObject(list) || !Array.isArray(list.data)) throw createFormatError(text, 'vectors')
  const items: unknown[] = list.data
  const data = items.filter(isObject).map((item, index) => ({ index, ...item, embedding: item.embedding }))
  if (data.length !== count || data.some(({ embedding }) => embedding === undefined)) {
    throw new LlmError('model_protocol', 'the model did not send a vector for every text')
  }
  return { ...list, data }
}
