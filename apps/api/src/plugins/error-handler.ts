import { randomUUID } from 'node:crypto'
import { STATUS_CODES } from 'node:http'
import type { Duplex } from 'node:stream'
import { describeError } from '@repo/telemetry'
import type { FastifyInstance, FastifyReply, FastifyRequest } from 'fastify'
import fp from 'fastify-plugin'
import findMyWay from 'find-my-way'
import { fromRequestError, isOpenAi, ProblemError, toBody, toErrorBody, toProblem } from './errors.ts'
import { securityHeaders } from './security.ts'

type Options = {
  /** Called with the code of each request that is answered with 429 or 503. */
  onRefusal?: (code: string) => void
}

/** Sends every error as problem+json, or in OpenAI's envelope below /v1/. Logs unexpected errors once. */
async function errors(app: FastifyInstance, { onRefusal = () => {} }: Options) {
  handleProtocolErrors(app)
  app.setErrorHandler((error, request, reply) => {
    const { status, code } = toProblem(error)
    if (status === 429 || status === 503) onRefusal(code)
    return handleError(error, request, reply)
  })
  const routes = collectRoutes(app)
  app.setNotFoundHandler((request, reply) => {
    const methods = routes.findMethods(request.url)
    const isOptions = request.method === 'OPTIONS'
    if (!methods || (methods.includes(request.method) && !isOptions)) {
      const advice = isOpenAi(request.url)
        ? `Use one of these: ${routes.listBelow('/v1/')}.`
        : 'See /docs for all routes.'
      return sendProblem(request, reply, new ProblemError(404, 'route_not_found', `Route not found. ${advice}`))
    }
    const allow = methods.join(', ')
    reply.header('allow', allow) // RFC 9110, section 10.2.1
    if (isOptions) return reply.code(204).send()
    const detail = `This route does not support ${request.method}. Use one of these: ${allow}.`
    return sendProblem(request, reply, new ProblemError(405, 'method_not_allowed', detail))
  })
}

/** Collects the routes that are registered from now on. Fastify itself only finds routes by method and path. */
function collectRoutes(app: FastifyInstance) {
  const paths = findMyWay({ ignoreTrailingSlash: true })
  const documented = new Set<string>()
  app.addHook('onRoute', ({ method, url, schema }) => {
    if (url === '*') return // of @fastify/cors
    const methods: Set<string> = paths.findRoute('GET', url)?.store ?? new Set()
    if (methods.size === 0) paths.on('GET', url, () => {}, methods.add('OPTIONS'))
    for (const name of [method].flat()) {
      methods.add(name)
      if (name !== 'HEAD' && !schema?.hide) documented.add(`${name} ${url}`)
    }
  })
  return {
    /** Returns the methods of a path. Undefined: no route has this path. */
    findMethods: (url: string): string[] | undefined => {
      const methods: Set<string> | undefined = paths.find('GET', url)?.store
      return methods && [...methods].toSorted()
    },
    listBelow: (prefix: string) => [...documented].filter((route) => route.includes(` ${prefix}`)).join(', '),
  }
}

/** Handles requests that Node itself would reject without a body, or not answer at all. */
function handleProtocolErrors(app: FastifyInstance) {
  app.server.on('connect', (_request, socket: Duplex) =>
    sendToSocket(
      socket,
      new ProblemError(400, 'bad_request', 'The CONNECT method is not supported. See /docs for all routes.'),
    ),
  )
  // RFC 9110, section 10.1.1: a server may ignore unknown expectations.
  app.server.on('checkExpectation', app.routing)
  // RFC 9112, section 3.2. `requireHostHeader` is off so that this error has the same format as all others.
  app.addHook('onRequest', async ({ raw, headers }) => {
    if (headers.host === undefined && raw.httpVersion === '1.1')
      throw new ProblemError(400, 'bad_request', 'The `host` header is missing. Send it.')
  })
}

/** Sends an error response. Also handles errors that occur before routing (`frameworkErrors`). */
export function handleError(error: unknown, request: FastifyRequest, reply: FastifyReply) {
  const problem = toProblem(error)
  const { status, code } = problem
  // A ProblemError is thrown on purpose. Its cause, if any, was already logged with the answer that failed.
  if (status >= 500 && !(error instanceof ProblemError))
    request.log.error({ status, code, error: describeError(error) }, 'request failed')
  return sendProblem(request, reply, problem)
}

function sendProblem(request: FastifyRequest, reply: FastifyReply, problem: ProblemError) {
  reply.code(problem.status).header('x-request-id', request.id)
  if (problem.status === 401) reply.header('www-authenticate', 'Bearer') // RFC 9110, section 11.6.1
  if (problem.missingScope !== undefined) reply.header('www-authenticate', toScopeChallenge(problem.missingScope))
  if (problem.retryAfterSeconds !== undefined) reply.header('retry-after', Math.ceil(problem.retryAfterSeconds))
  if (problem.safeToRetry) reply.header('x-should-retry', 'true')
  if (!isOpenAi(request.url)) reply.type('application/problem+json')
  return reply.send(toErrorBody(problem, request.url, request.id))
}

/** RFC 6750, section 3.1. MCP clients read it too. */
function toScopeChallenge(scope: string): string {
  return `Bearer error="insufficient_scope"${scope && `, scope="${scope}"`}`
}

/** Writes an error to the socket. Invalid HTTP never becomes a request that a reply could be sent for. */
export function handleClientError(error: NodeJS.ErrnoException, socket: Duplex) {
  const detail = 'Invalid HTTP request. Check the client or the proxy that sent it.'
  sendToSocket(socket, fromRequestError(error) ?? new ProblemError(400, 'bad_request', detail))
}

/** Whether a response has started, so that a second one would corrupt it. Node's own handler checks the same field. */
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

export default fp(errors, { name: 'errors' })
