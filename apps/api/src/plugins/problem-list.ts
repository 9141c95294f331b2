import type { RouteOptions } from 'fastify'
import { isOpen } from './auth.ts'

/** Stable codes by status. */
export type ProblemCodes = Record<number, string[]>

declare module 'fastify' {
  interface FastifyContextConfig {
    /** What this route alone answers when it cannot do its work; the rest is known from what it is (problem-list.ts). */
    problems?: ProblemCodes
  }
}

type Route = Pick<RouteOptions, 'method' | 'url' | 'config' | 'schema'>

const always: ProblemCodes = { 500: ['internal_error'] }
const withInput: ProblemCodes = { 400: ['invalid_request'] }
const withPlaceholder: ProblemCodes = { 400: ['invalid_url'] }
const withBody: ProblemCodes = {
  400: ['invalid_json', 'invalid_body'],
  413: ['body_too_large'],
  415: ['unsupported_media_type'],
}
const underLoad: ProblemCodes = { 503: ['overloaded'] }
const forOwners: ProblemCodes = {
  401: ['unauthorized', 'token_expired'],
  403: ['foreign_origin'],
  503: ['database_unavailable', 'issuer_unavailable'],
}
const ofCosts: ProblemCodes = { 429: ['rate_limited'] }
const ofModels: ProblemCodes = {
  429: ['model_rate_limited'],
  502: ['model_unauthorized', 'model_rejected', 'model_failed', 'model_unreachable', 'model_protocol'],
  504: ['model_timeout'],
}
const ofAnswers: ProblemCodes = { 429: ['too_many_streams_of_owner'], 503: ['too_many_streams', 'shutting_down'] }

/** All that a route answers when it cannot do its work: what plugins say before it, and what it says itself. */
export function listProblems({ method, url, config = {}, schema = {} }: Route): ProblemCodes {
  const { querystring, params, headers, body } = schema
  const groups = [
    always,
    (querystring || params || headers || body) && withInput,
    url.includes('/:') && withPlaceholder,
    !['GET', 'HEAD'].includes(String(method)) && withBody,
    !isOpen(url) && forOwners,
    !config.neverShed && underLoad,
    config.isCostly && ofCosts,
    config.isCostly === true && ofModels,
    config.startsAnswer && ofAnswers,
    config.problems,
  ]
  const merged: ProblemCodes = {}
  for (const [status, codes] of groups.flatMap((group) => Object.entries(group || {}))) {
    merged[Number(status)] = [...new Set([...(merged[Number(status)] ?? []), ...codes])]
  }
  return merged
}
