import { readText } from './http-call.ts'
import type { HttpClient } from './http-client.ts'
import { isObject, parseJson } from './json.ts'
import { LlmError } from './llm.ts'
import type { EmbeddingList, EmbeddingModel } from './openai-api.ts'
import { readVendorError } from './vendor-error.ts'

/** Passes a client's own `POST /embeddings` on to the model's server. `dimensions` is for clients that name none. */
export function createOpenAiEmbeddings(http: HttpClient, model: string, dimensions?: number): EmbeddingModel {
  return {
    name: model,
    create: async (body, signal) => {
      // Not every server knows base64: numbers are asked for, and encoded here.
      const request = { ...(dimensions && { dimensions }), ...body, model, encoding_format: 'float' }
      const list = parseJson(await readText(await http.post('/embeddings', request, signal)))
      return readList(list, [body.input].flat().length)
    },
  }
}

/** Gemini leaves out an index of 0, and some servers every index. */
function readList(list: unknown, count: number): EmbeddingList {
  const failure = readVendorError(list)
  if (failure) throw failure
  const items: unknown[] = isObject(list) && Array.isArray(list.data) ? list.data : []
  const data = items.filter(isObject).map((item, index) => ({ index, ...item, embedding: item.embedding }))
  if (!isObject(list) || data.length !== count || data.some(({ embedding }) => embedding === undefined)) {
    throw new LlmError('model_protocol', 'the model did not send a vector for every text')
  }
  return { ...list, data }
}
