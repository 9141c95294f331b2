import { isObject } from './json.ts'
import { LlmError, type LlmErrorCode } from './llm.ts'

type Response = { status?: number | undefined; retryAfterSeconds?: number | undefined }

/** How servers say it in the code, type or message of an error. The first match counts. */
const kinds: [LlmErrorCode, RegExp][] = [
  ['model_rate_limited', /rate.?limit|per.min|quota|too.?many.?requests|resource.?exhausted|throttl/i],
  [
    'context_length_exceeded',
    /context.?(length|size|window)|(prompt|input)[^.]{0,60}(too.(long|large)|exceed)|request.too.(long|large)|less than \d+ (tokens|characters)|too many tokens|exceed[^.]{0,40}token|reduce the length/i,
  ],
  ['model_unauthorized', /api.?key|unauthori[sz]ed|unauthenticated|authentication|permission.?denied/i],
]

/**
 * Returns the error that a vendor sent instead of an answer: `{"error": …}`, vLLM's older `{"object": "error", …}`, or
 * the data of an event named `error`. It is classified like an HTTP response with its code.
 */
export function readVendorError(value: unknown, eventName = ''): LlmError | undefined {
  const isError = eventName === 'error' || (isObject(value) && (Boolean(value.error) || value.object === 'error'))
  if (!isError) return undefined
  const details = isObject(value) && value.error ? value.error : value
  const codes = isObject(details) ? [details.code, details.status].map(Number) : []
  return createVendorError(String(JSON.stringify(details)), { status: codes.find((code) => code >= 400 && code < 600) })
}

/** Returns the error of a response that is not 2xx, or of an error in a stream. `text` is read but not quoted. */
export function createVendorError(text: string, response: Response): LlmError {
  const { status } = response
  const isVague = status === undefined || [400, 413, 422].includes(status) || status >= 500
  const code = (isVague && kinds.find(([, words]) => words.test(text))?.[0]) || codeOf(status)
  const what = status === undefined ? 'the model reported an error' : `the model server responded with ${status}`
  return new LlmError(code, code === 'context_length_exceeded' ? describeOverflow(text) : what, response)
}

function codeOf(status = 500): LlmErrorCode {
  if (status >= 401 && status <= 403) return 'model_unauthorized'
  if (status === 413) return 'context_length_exceeded'
  if (status === 429) return 'model_rate_limited'
  if (status >= 500) return 'model_failed'
  return status >= 400 ? 'model_rejected' : 'model_protocol'
}

const limitWords = /(?:context|maximum|limit|less than|allowed|batch size)\D{0,40}?(\d+)|(\d+) maximum/i

/** Names the sizes that the server named. Numbers of more than seven digits are times or ids. */
function describeOverflow(text: string): string {
  const plain = text.replaceAll(/"(code|status)":\s*\d+/g, '').replaceAll(/(?<=\d),(?=\d{3})/g, '')
  const [, after, before] = limitWords.exec(plain) ?? []
  const limit = Number(after ?? before ?? 0)
  const size = Math.max(...[...plain.matchAll(/\b\d{2,7}\b/g)].map(Number))
  if (limit === 0) return 'the request is longer than the model accepts'
  return size > limit
    ? `the request has ${size} tokens, and the model accepts ${limit}`
    : `the request exceeds the ${limit} tokens that the model accepts`
}
