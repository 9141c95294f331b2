import { randomUUID } from 'node:crypto'
import { STATUS_CODES } from 'node:http'
import type { Duplex } from 'node:stream'
import { ConflictError, describeDatabaseError } from '@repo/db'
import { LlmError, type LlmErrorCode } from '@repo/llm'
import { describeError } from '@repo/telemetry'
import type { FastifyInstance, FastifyReply, FastifyRequest } from 'fastify'
import fp from 'fastify-plugin'
import { hasZodFastifySchemaValidationErrors } from 'fastify-type-provider-zod'
import { z } from 'zod'
import { securityHeaders } from './security.ts'

/** RFC 9457, with a stable `code` for programs and a `detail` that tells a person what to do. */
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
  .meta({ id: 'Problem', description: 'An error (RFC 9457). `code` is stable, `detail` says what to do.' })

const OpenAiError = z
  .object({
    error: z.object({ message: z.string(), type: z.string(), param: z.string().nullable(), code: z.string() }),
  })
  .meta({
    id: 'OpenAiError',
    description: 'An error as OpenAI writes it. `code` is stable, `message` says what to do.',
  })

type Details = {
  retryAfterSeconds?: number | undefined
  /** Nothing has been done: a balancer may hand the request to another process at once, whatever it is. */
  isUntouched?: boolean
  /** Which parameter is wrong, as in `messages[0].content`; told below /v1/ alone. */
  param?: string
  extra?: Partial<z.output<typeof Problem>>
}

/** An answer other than 2xx. Everything in it is shown to the client. */
export class ProblemError extends Error {
  /** Its message is ours: a log may show it. */
  isPublic = true
  status: number
  code: string
  retryAfterSeconds: number | undefined
  isUntouched: boolean
  param: string | undefined
  extra: Partial<z.output<typeof Problem>>

  constructor(status: number, code: string, detail: string, details: Details = {}) {
    super(detail)
    this.name = 'ProblemError'
    this.status = status
    this.code = code
    this.retryAfterSeconds = details.retryAfterSeconds
    this.isUntouched = details.isUntouched ?? false
    this.param = details.param
    this.extra = details.extra ?? {}
  }
}

const conflicts: Record<ConflictError['code'], string> = {
  message_exists: 'A message with this id is stored already; send a new message with a new id.',
  answer_running: 'The conversation is still being answered; wait for the end of that answer.',
}

/** What the world may know of an error: never a stack, SQL, a prompt, a document or a secret. */
export function toProblem(error: unknown): ProblemError {
  if (error instanceof ProblemError) return error
  if (error instanceof ConflictError) return new ProblemError(409, error.code, conflicts[error.code])
  if (error instanceof LlmError) return fromLlmError(error)
  const failure = describeDatabaseError(error)
  if (failure?.unavailable) {
    return new ProblemError(503, 'database_unavailable', 'The database does not answer; try again in a moment.', {
      retryAfterSeconds: 2,
    })
  }
  if (hasZodFastifySchemaValidationErrors(error)) {
    const errors = error.validation.map(({ instancePath, message }) => ({ path: instancePath, message: message ?? '' }))
    const detail = errors.map(({ path, message }) => `${path || error.validationContext}: ${message}`).join('; ')
    return new ProblemError(400, 'invalid_request', detail, { param: toParam(errors[0]?.path), extra: { errors } })
  }
  return (
    fromRequestError(error) ??
    new ProblemError(500, 'internal_error', 'Something failed here; the log has the request id.')
  )
}

const modelStatus: Partial<Record<LlmErrorCode, number>> = { model_timeout: 504, model_rate_limited: 429 }

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

/** By the code of Fastify's error, or of Node's HTTP parser. */
const requestErrors: Record<string, [status: number, code: string, detail: string]> = {
  FST_ERR_CTP_INVALID_JSON_BODY: [400, 'invalid_json', 'The body is not valid JSON.'],
  FST_ERR_CTP_EMPTY_JSON_BODY: [400, 'invalid_json', 'The body is empty; it should be JSON.'],
  FST_ERR_CTP_INVALID_MEDIA_TYPE: [415, 'unsupported_media_type', 'Send JSON with `content-type: application/json`.'],
  FST_ERR_CTP_BODY_TOO_LARGE: [413, 'body_too_large', 'The body is larger than this route takes.'],
  FST_ERR_CTP_INVALID_CONTENT_LENGTH: [400, 'invalid_body', 'The body is not as long as its content-length says.'],
  FST_FILES_LIMIT: [413, 'too_many_parts', 'The form holds more than one file; send one file a request.'],
  FST_FIELDS_LIMIT: [413, 'too_many_parts', 'The form holds more fields than this route knows.'],
  FST_ERR_BAD_URL: [400, 'invalid_url', 'The URL is not valid.'],
  HPE_HEADER_OVERFLOW: [431, 'headers_too_large', 'The headers are larger than 16 kB.'],
  ERR_HTTP_REQUEST_TIMEOUT: [408, 'request_timeout', 'The request took too long to arrive.'],
}

function fromRequestError(error: unknown): ProblemError | undefined {
  if (!(error instanceof Error) || !('code' in error)) return undefined
  const known = requestErrors[String(error.code)]
  if (known) return new ProblemError(...known)
  const isClientError = 'statusCode' in error && typeof error.statusCode === 'number' && error.statusCode < 500
  return isClientError ? new ProblemError(400, 'bad_request', 'The request could not be read.') : undefined
}

/** Every error becomes problem+json, or OpenAI's envelope below /v1/; those that are our fault are logged once. */
async function errors(app: FastifyInstance) {
  answerForNode(app)
  app.setErrorHandler(answerError)
  app.setNotFoundHandler((request, reply) =>
    sendProblem(
      request,
      reply,
      new ProblemError(404, 'route_not_found', 'There is no such route; /docs lists them all.'),
    ),
  )
}

/** What Node answers without a body, or not at all, unless somebody else does. */
function answerForNode(app: FastifyInstance) {
  app.server.on('connect', (_request, socket: Duplex) =>
    sendToSocket(socket, new ProblemError(400, 'bad_request', 'CONNECT is for proxies, and this is none.')),
  )
  // RFC 9110, section 10.1.1: an expectation that is not known may be passed over.
  app.server.on('checkExpectation', app.routing)
  // RFC 9112, section 3.2; `requireHostHeader` is off, for this to be a problem like the rest.
  app.addHook('onRequest', async ({ raw, headers }) => {
    if (headers.host === undefined && raw.httpVersion === '1.1')
      throw new ProblemError(400, 'bad_request', 'A request names its host: send a `host` header.')
  })
}

/** The error handler, also for what fails before a route is known (`frameworkErrors`). */
export function answerError(error: unknown, request: FastifyRequest, reply: FastifyReply) {
  const problem = toProblem(error)
  const { status, code } = problem
  // A problem is thrown on purpose; the failure behind it, where there is one, was logged with the answer it ended.
  if (status >= 500 && !(error instanceof ProblemError))
    request.log.error({ status, code, error: describeError(error) }, 'request failed')
  return sendProblem(request, reply, problem)
}

function sendProblem(request: FastifyRequest, reply: FastifyReply, problem: ProblemError) {
  reply.code(problem.status).header('x-request-id', request.id)
  if (problem.status === 401) reply.header('www-authenticate', 'Bearer') // RFC 9110, section 11.6.1
  if (problem.retryAfterSeconds !== undefined) reply.header('retry-after', Math.ceil(problem.retryAfterSeconds))
  if (problem.isUntouched) reply.header('x-should-retry', 'true')
  if (!isOpenAi(request.url)) reply.type('application/problem+json')
  return reply.send(toErrorBody(problem, request.url, request.id))
}

/** Whether a URL's errors are in OpenAI's envelope. */
export function isOpenAi(url: string): boolean {
  return url.startsWith('/v1/')
}

/** What a client is told of a problem, in the form of the URL that it asked for. */
export function toErrorBody(problem: ProblemError, url: string, requestId: string) {
  return isOpenAi(url) ? toOpenAiError(problem) : toBody(problem, requestId)
}

function toBody({ status, code, message, extra }: ProblemError, requestId: string): z.output<typeof Problem> {
  const title = STATUS_CODES[status] ?? 'Error'
  return { type: 'about:blank', title, status, code, detail: message, requestId, ...extra }
}

/** What is no HTTP never becomes a request (`clientErrorHandler`): its problem goes straight to the socket. */
export function answerClientError(error: NodeJS.ErrnoException, socket: Duplex) {
  const known = requestErrors[error.code ?? ''] ?? [400, 'bad_request', 'This is not valid HTTP.']
  sendToSocket(socket, new ProblemError(...known))
}

/** Whether a response has begun there: a second one would end up within it. Node's own handler looks at the same field. */
function hasResponse(socket: Duplex): boolean {
  return '_httpMessage' in socket && Object(socket._httpMessage).headersSent === true
}

function sendToSocket(socket: Duplex, problem: ProblemError) {
  const { status } = problem
  const requestId = randomUUID()
  const body = JSON.stringify(toBody(problem, requestId))
  const head = [
    `HTTP/1.1 ${status} ${STATUS_CODES[status]}`,
    'content-type: application/problem+json; charset=utf-8',
    `content-length: ${Buffer.byteLength(body)}`,
    `x-request-id: ${requestId}`,
    ...Object.entries(securityHeaders).map(([name, value]) => `${name}: ${value}`),
    'connection: close',
  ]
  if (socket.writable && !hasResponse(socket)) socket.write(`${head.join('\r\n')}\r\n\r\n${body}`)
  socket.destroy()
}

/** `/messages/0/content` as OpenAI writes it: `messages[0].content`. */
function toParam(path = ''): string {
  return path
    .slice(1)
    .replaceAll(/\/(\d+)(?=\/|$)/g, '[$1]')
    .replaceAll('/', '.')
}

/** OpenAI's own codes, where clients look for them. */
const openAiCodes: Record<string, string> = { unauthorized: 'invalid_api_key' }

/** The envelope of errors below /v1/, in a body or in a stream: https://platform.openai.com/docs/guides/error-codes */
export function toOpenAiError({ status, code, message, param }: ProblemError): z.output<typeof OpenAiError> {
  const type = status >= 500 ? 'server_error' : status === 429 ? 'rate_limit_error' : 'invalid_request_error'
  return { error: { message, type, param: param || null, code: openAiCodes[code] ?? code } }
}

export default fp(errors, { name: 'errors' })
