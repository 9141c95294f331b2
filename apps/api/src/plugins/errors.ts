import { STATUS_CODES } from 'node:http'
import { ConflictError, describeDatabaseError } from '@repo/db'
import { LlmError, type LlmErrorCode } from '@repo/llm'
import { hasZodFastifySchemaValidationErrors } from 'fastify-type-provider-zod'
import { z } from 'zod'

/** RFC 9457, with a stable `code` for programs and a `detail` for people. */
const Problem = z
  .object({
    type: z.literal('about:blank'),
    title: z.string(),
    status: z.int(),
    code: z.string(),
    detail: z.string(),
    requestId: z.string(),
    errors: z.array(z.object({ path: z.string(), message: z.string() })).optional(),
    conversationId: z.string().optional(),
    messageId: z.string().optional(),
    limit: z.int().optional(),
  })
  .meta({
    id: 'Problem',
    description: 'An error (RFC 9457). `code` is stable. `detail` says what is wrong and what to do.',
  })

const OpenAiError = z
  .object({
    error: z.object({ message: z.string(), type: z.string(), param: z.string().nullable(), code: z.string() }),
  })
  .meta({
    id: 'OpenAiError',
    description: "An error in OpenAI's format. `code` is stable. `message` says what is wrong and what to do.",
  })

type Details = {
  retryAfterSeconds?: number | undefined
  /** The request had no effect, so a load balancer may resend it to another replica, whatever its method. */
  safeToRetry?: boolean
  /** The scope that the key would need. Sent in `www-authenticate`. Empty: no scope allows it. */
  missingScope?: string
  /** The invalid parameter, such as `messages[0].content`. Sent below /v1/ only. */
  param?: string
  extra?: Partial<z.output<typeof Problem>>
}

/** An error response. The client sees everything in it. */
export class ProblemError extends Error {
  /** Allows logs to include the message, which contains no user data. */
  isPublic = true
  status: number
  code: string
  retryAfterSeconds: number | undefined
  safeToRetry: boolean
  missingScope: string | undefined
  param: string | undefined
  extra: Partial<z.output<typeof Problem>>

  constructor(status: number, code: string, detail: string, details: Details = {}) {
    super(detail)
    this.name = 'ProblemError'
    this.status = status
    this.code = code
    this.retryAfterSeconds = details.retryAfterSeconds
    this.safeToRetry = details.safeToRetry ?? false
    this.missingScope = details.missingScope
    this.param = details.param
    this.extra = details.extra ?? {}
  }
}

/** Returns the error of a process that is shutting down. With `safeToRetry`, the balancer tries another replica. */
export function shuttingDown({ safeToRetry }: { safeToRetry: boolean }): ProblemError {
  const detail = 'The server is restarting. Try again in a moment.'
  return new ProblemError(503, 'shutting_down', detail, { retryAfterSeconds: 2, safeToRetry })
}

const conflicts: Record<ConflictError['code'], string> = {
  message_exists: 'A message with this id already exists. Send a new message with a new id.',
  answer_running: 'The previous message of this conversation is still being answered. Wait for the answer, or stop it.',
  document_exists: 'The same document is there already. Delete one of them.',
}

/** Converts any error to one that is safe to send: it never contains a stack, SQL, a prompt, a document or a secret. */
export function toProblem(error: unknown): ProblemError {
  if (error instanceof ProblemError) return error
  if (error instanceof ConflictError) return new ProblemError(409, error.code, conflicts[error.code])
  if (error instanceof LlmError) return fromLlmError(error)
  const failure = describeDatabaseError(error)
  if (failure?.unavailable) return databaseUnavailable(failure.code)
  if (hasZodFastifySchemaValidationErrors(error)) {
    const errors = error.validation.map(({ instancePath, message }) => ({ path: instancePath, message: message ?? '' }))
    const detail = errors.map(({ path, message }) => `${path || error.validationContext}: ${message}`).join('; ')
    return new ProblemError(400, 'invalid_request', detail, { param: toParam(errors[0]?.path), extra: { errors } })
  }
  return (
    fromRequestError(error) ??
    new ProblemError(500, 'internal_error', 'Internal server error. Include the request id when you report it.')
  )
}

/** Responses by SQLSTATE. The other failures that pass by themselves are `database_unavailable`. */
const databaseProblems: Record<string, [code: string, detail: string, retryAfterSeconds?: number]> = {
  '25006': ['database_read_only', 'The database is read-only, as during a failover. Try again in a moment.'],
  '28P01': ['database_login_failed', 'The server cannot log in to its database. Tell its operator.', 30],
  '53100': ['database_full', 'The disk of the database is full. Tell its operator.', 30],
  '53300': ['database_overloaded', 'The database has no free connections. Try again in a moment.'],
  '55P03': ['database_locked', 'The data is locked by another operation. Try again in a moment.'],
}

/** Codes of `databaseUnavailable`. */
export const databaseCodes = ['database_unavailable', ...Object.values(databaseProblems).map(([code]) => code)]

/** Returns the error of a database that cannot serve the request now. `cause` is an SQLSTATE. */
export function databaseUnavailable(cause = ''): ProblemError {
  const unknown = ['database_unavailable', 'The database is not responding. Try again in a moment.'] as const
  const [code, detail, retryAfterSeconds = 2] = databaseProblems[cause] ?? unknown
  return new ProblemError(503, code, detail, { retryAfterSeconds })
}

const modelStatus: Partial<Record<LlmErrorCode, number>> = {
  context_length_exceeded: 400,
  model_rate_limited: 429,
  model_timeout: 504,
}

function fromLlmError(error: LlmError): ProblemError {
  const { code, message } = error
  const status = modelStatus[code] ?? 502
  return new ProblemError(
    status,
    code,
    message,
    status === 429 ? { retryAfterSeconds: error.retryAfterSeconds ?? 5 } : {},
  )
}

/** Responses by error code, of Fastify or of Node's HTTP parser. */
const requestErrors: Record<string, [status: number, code: string, detail: string]> = {
  FST_ERR_CTP_INVALID_JSON_BODY: [400, 'invalid_json', 'The request body is not valid JSON. Check its syntax.'],
  FST_ERR_CTP_EMPTY_JSON_BODY: [400, 'invalid_json', 'The request body is empty. Send JSON.'],
  FST_ERR_CTP_INVALID_MEDIA_TYPE: [
    415,
    'unsupported_media_type',
    'Unsupported media type. Send JSON with `content-type: application/json`.',
  ],
  FST_ERR_CTP_BODY_TOO_LARGE: [
    413,
    'body_too_large',
    'The request body is too large. Send less, or split it into several requests.',
  ],
  FST_ERR_CTP_INVALID_CONTENT_LENGTH: [
    400,
    'invalid_body',
    'The request body does not match its content-length. Send it again.',
  ],
  FST_FILES_LIMIT: [413, 'too_many_parts', 'The form contains more than one file. Send one file per request.'],
  FST_FIELDS_LIMIT: [413, 'too_many_parts', 'The form contains too many fields. Send only the fields listed in /docs.'],
  FST_ERR_BAD_URL: [400, 'invalid_url', 'Invalid URL. Percent-encode its special characters.'],
  HPE_HEADER_OVERFLOW: [431, 'headers_too_large', 'The request headers exceed 16 kB. Send fewer or shorter headers.'],
  ERR_HTTP_REQUEST_TIMEOUT: [
    408,
    'request_timeout',
    'The request took too long to arrive. Send it again, or send less.',
  ],
}

/** Returns the response to a request that Fastify or Node's HTTP parser rejects; undefined for other errors. */
export function fromRequestError(error: unknown): ProblemError | undefined {
  if (!(error instanceof Error) || !('code' in error)) return undefined
  const known = requestErrors[String(error.code)]
  if (known) return new ProblemError(...known)
  const isClientError = 'statusCode' in error && typeof error.statusCode === 'number' && error.statusCode < 500
  return isClientError
    ? new ProblemError(400, 'bad_request', 'Invalid request. See /docs for what this route accepts.')
    : undefined
}

/** Whether errors of this URL are sent in OpenAI's envelope. */
export function isOpenAi(url: string): boolean {
  return /^\/v1(?:[/?]|$)/.test(url)
}

/** Returns the response body of an error, in the format of the requested URL. */
export function toErrorBody(problem: ProblemError, url: string, requestId: string) {
  return isOpenAi(url) ? toOpenAiError(problem) : toBody(problem, requestId)
}

/** Returns an error as problem+json. */
export function toBody({ status, code, message, extra }: ProblemError, requestId: string): z.output<typeof Problem> {
  const title = STATUS_CODES[status] ?? 'Error'
  return { type: 'about:blank', title, status, code, detail: message, requestId, ...extra }
}

/** Converts `/messages/0/content` to OpenAI's notation: `messages[0].content`. */
function toParam(path = ''): string {
  return path
    .slice(1)
    .replaceAll(/\/(\d+)(?=\/|$)/g, '[$1]')
    .replaceAll('/', '.')
}

/** OpenAI's names of our codes, which its clients check for. */
const openAiCodes: Record<string, string> = { unauthorized: 'invalid_api_key' }

/** Returns an error in OpenAI's envelope, for a body or a stream: https://platform.openai.com/docs/guides/error-codes */
export function toOpenAiError({ status, code, message, param }: ProblemError): z.output<typeof OpenAiError> {
  const type = status >= 500 ? 'server_error' : status === 429 ? 'rate_limit_error' : 'invalid_request_error'
  return { error: { message, type, param: param || null, code: openAiCodes[code] ?? code } }
}
