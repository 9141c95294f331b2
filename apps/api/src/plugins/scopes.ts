import type { KeyScope } from '@repo/db'
import type { FastifyContextConfig, FastifyRequest } from 'fastify'
import { ProblemError } from './errors.ts'

declare module 'fastify' {
  interface FastifyContextConfig {
    /**
     * A key with one of these scopes may call the route. Default: `read` for GET. Otherwise no key that has scopes may, so
     * that a route which forgets to declare them is closed to such keys.
     */
    scopes?: KeyScope[]
  }
}

/** Returns the scopes that allow a key to call a route. */
export function listScopes(method: string, { scopes }: FastifyContextConfig = {}): KeyScope[] {
  return scopes ?? (['GET', 'HEAD'].includes(method) ? ['read'] : [])
}

/** Throws `ProblemError` 403 if a key's scopes do not allow the request. `null`: the key may do everything. */
export function assertScope({ method, routeOptions, is404 }: FastifyRequest, scopes: KeyScope[] | null): void {
  if (scopes === null || is404) return
  const allowed = listScopes(method, routeOptions.config)
  if (!allowed.some((scope) => scopes.includes(scope))) throw scopeMissing(allowed)
}

function scopeMissing(allowed: KeyScope[]): ProblemError {
  const names = allowed.map((scope) => `\`${scope}\``).join(' or ')
  const detail = names
    ? `This key does not have the scope ${names}. Use a key that has it, or one without scopes.`
    : 'Keys with scopes may not call this route. Use a key without scopes.'
  return new ProblemError(403, 'scope_missing', detail, { missingScope: allowed[0] ?? '' })
}
