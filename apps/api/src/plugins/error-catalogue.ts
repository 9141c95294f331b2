import type { RouteOptions } from 'fastify'
import { isPublicPath } from './auth.ts'
import { databaseCodes } from './errors.ts'

/** Stable error codes by status. */
export type ProblemCodes = Record<number, string[]>

declare module 'fastify' {
  interface FastifyContextConfig {
    /** The error codes of this route's handler. error-catalogue.ts adds those of plugins. */
    problems?: ProblemCodes
  }
}

type Route = Pick<RouteOptions, 'method' | 'url' | 'config' | 'schema'>

const commonErrors: ProblemCodes = { 500: ['internal_error'] }
const validationErrors: ProblemCodes = { 400: ['invalid_request'] }
const paramErrors: ProblemCodes = { 400: ['invalid_url'] }
const bodyErrors: ProblemCodes = {
  400: ['invalid_json', 'invalid_body'],
  413: ['body_too_large'],
  415: ['unsupported_media_type'],
}
const overloadErrors: ProblemCodes = { 503: ['overloaded'] }
const authErrors: ProblemCodes = {
  401: ['unauthorized', 'key_expired', 'token_expired'],
  403: ['foreign_origin', 'scope_missing'],
  503: [...databaseCodes, 'issuer_unavailable'],
}
const rateLimitErrors: ProblemCodes = { 429: ['rate_limited'] }
const modelErrors: ProblemCodes = {
  400: ['context_length_exceeded'],
  429: ['model_rate_limited', 'token_budget'],
  502: ['model_unauthorized', 'model_rejected', 'model_failed', 'model_unreachable', 'model_protocol'],
  504: ['model_timeout'],
}
const streamErrors: ProblemCodes = { 429: ['owner_stream_limit'], 503: ['too_many_streams', 'shutting_down'] }

/** Returns all error codes of a route: those of plugins, and those its handler declares in `config.problems`. */
export function listErrorCodes({ method, url, config = {}, schema = {} }: Route): ProblemCodes {
  const { querystring, params, headers, body } = schema
  const groups = [
    commonErrors,
    (querystring || params || headers || body) && validationErrors,
    url.includes('/:') && paramErrors,
    !['GET', 'HEAD'].includes(String(method)) && bodyErrors,
    !isPublicPath(url) && authErrors,
    !config.neverShed && overloadErrors,
    config.rateLimit && rateLimitErrors,
    config.rateLimit === true && modelErrors,
    config.streamsAnswer && streamErrors,
    config.problems,
  ]
  const merged: ProblemCodes = {}
  for (const [status, codes] of groups.flatMap((group) => Object.entries(group || {}))) {
    merged[Number(status)] = [...new Set([...(merged[Number(status)] ?? []), ...codes])]
  }
  return merged
}
