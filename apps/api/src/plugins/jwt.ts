import type { Config } from '@repo/config'
import type { Store, UsageRecorder } from '@repo/db'
import { describeError } from '@repo/telemetry'
import type { FastifyBaseLogger, FastifyInstance } from 'fastify'
import fp from 'fastify-plugin'
import {
  createRemoteJWKSet,
  customFetch,
  errors,
  type JWTPayload,
  type JWTVerifyGetKey,
  jwtVerify,
  type RemoteJWKSet,
} from 'jose'
import { z } from 'zod'
import { isSpending } from './budgets.ts'
import { ProblemError } from './errors.ts'

export type JwtOptions = {
  config: Pick<
    Config,
    | 'JWT_ISSUER'
    | 'JWT_AUDIENCE'
    | 'JWT_JWKS_URL'
    | 'JWT_ORGANIZATION_CLAIM'
    | 'JWT_LIBRARIAN_CLAIM'
    | 'OWNER_TOKENS_PER_DAY'
  >
  store: Store
  usage: UsageRecorder
}

/** Asymmetric algorithms only. Allowing HS256 would let anyone sign tokens with the public key as the shared secret. */
const algorithms = ['RS256', 'RS384', 'RS512', 'PS256', 'PS384', 'PS512', 'ES256', 'ES384', 'ES512', 'EdDSA', 'Ed25519']
const clockToleranceSeconds = 30 // clocks synchronized by NTP differ far less
const fetchTimeoutMs = 3000 // issuers respond within tens of ms, and a client is waiting
const pauseMs = 5000 // after a failure, to avoid calling the issuer on every request

/** OIDC Core 1.0, section 2: unique at the issuer, never reassigned, at most 255 characters. */
const Subject = z.string().regex(/^\P{C}{1,255}$/u)

/**
 * Accepts JSON Web Tokens that `JWT_ISSUER` signed for `JWT_AUDIENCE`, in addition to API keys. The owner's name is
 * `ISSUER#SUBJECT`, which is unambiguous: an issuer contains no `#` (OpenID Connect Discovery 1.0, section 3).
 * To remove this feature, delete this file, its test and its line in `app.ts`, and run
 * `npm uninstall jose -w @repo/api`.
 */
async function jwt(app: FastifyInstance, { config, store, usage }: JwtOptions) {
  const { JWT_ISSUER: issuer, JWT_AUDIENCE: audience, OWNER_TOKENS_PER_DAY: maxTokens } = config
  if (!issuer || !audience) return
  const findKey = createKeyFinder(issuer, config.JWT_JWKS_URL, app.log)
  const claims = { issuer, audience, algorithms, requiredClaims: ['exp'], clockTolerance: clockToleranceSeconds }
  app.authenticators.push(async (request) => {
    const { headers, log } = request
    const [, token] = headers.authorization?.match(/^Bearer ([\w-]+\.[\w-]+\.[\w-]*)$/i) ?? []
    if (token === undefined) return undefined
    try {
      const { payload } = await jwtVerify(token, findKey, claims)
      const { name, isLibrarian } = readOrganization(payload, config)
      const spending = { ...usage.spentBy(), isSpending: maxTokens > 0 && isSpending(request) }
      const member = await store.owners.ensureMember(`${issuer}#${Subject.parse(payload.sub)}`, name, spending)
      if (member.spent) request.budget = { tokensPerDay: null, spent: member.spent }
      return { ...member, isLibrarian }
    } catch (error) {
      throw toProblem(error, log)
    }
  })
}

/** Returns the organization that a token names, and whether its holder is a librarian there. The issuer decides both. */
function readOrganization(payload: JWTPayload, config: JwtOptions['config']) {
  const { JWT_ORGANIZATION_CLAIM: claim, JWT_LIBRARIAN_CLAIM: [role = '', value] = [] } = config
  const name = claim ? Subject.optional().parse(payload[claim] || undefined) : undefined
  return { name, isLibrarian: value !== undefined && [payload[role]].flat().includes(value) }
}

function toProblem(error: unknown, log: FastifyBaseLogger): unknown {
  if (error instanceof errors.JWTExpired)
    return new ProblemError(401, 'token_expired', 'The token has expired. Get a new one from its issuer.')
  if (!(error instanceof errors.JOSEError || error instanceof z.ZodError)) return error
  // Helps to set up the issuer. The code contains no value of the token.
  log.debug({ reason: 'code' in error ? error.code : 'ERR_SUBJECT' }, 'token rejected')
  return new ProblemError(401, 'unauthorized', 'Invalid token. Send a token that JWT_ISSUER signed for JWT_AUDIENCE.')
}

/** Returns a function that finds a token's public key. It throws `ProblemError` 503 while the keys are unavailable. */
function createKeyFinder(issuer: string, jwksUrl: string | undefined, log: FastifyBaseLogger): JWTVerifyGetKey {
  let keySet: Promise<RemoteJWKSet> | undefined
  let pausedUntil = 0
  const fetchUnlessPaused: typeof fetch = async (...args) => {
    if (performance.now() < pausedUntil) throw new Error('the token issuer failed a moment ago')
    return fetch(...args)
  }
  const fail = (error: unknown) => {
    if (performance.now() < pausedUntil) return
    pausedUntil = performance.now() + pauseMs
    log.warn({ error: describeError(error) }, 'failed to fetch the keys of the token issuer')
  }
  return async (header, token) => {
    keySet ??= openKeySet(issuer, jwksUrl, fetchUnlessPaused)
    const current = keySet
    try {
      return await (await current)(header, token)
    } catch (error) {
      if (error instanceof errors.JWKSNoMatchingKey || error instanceof errors.JWKSMultipleMatchingKeys) throw error
      fail(error)
      const isFresh = await current.then(({ fresh }) => fresh).catch(() => false)
      if (!isFresh && keySet === current) keySet = undefined // the issuer may have moved its keys
      throw new ProblemError(503, 'issuer_unavailable', 'The token issuer is not responding. Try again in a moment.', {
        retryAfterSeconds: pauseMs / 1000,
      })
    }
  }
}

/**
 * Returns the keys at `jwksUrl`, or those that OpenID Connect Discovery finds. They are cached for ten minutes, and
 * fetched again at most every 30 s when a token names an unknown key. URLs in tokens are ignored, and redirects are not
 * followed.
 */
async function openKeySet(issuer: string, jwksUrl: string | undefined, fetchUnlessPaused: typeof fetch) {
  const url = new URL(jwksUrl ?? (await discoverKeys(issuer, fetchUnlessPaused)))
  return createRemoteJWKSet(url, { timeoutDuration: fetchTimeoutMs, [customFetch]: fetchUnlessPaused })
}

/** Returns the URL of the issuer's keys from its configuration. */
async function discoverKeys(issuer: string, fetchUnlessPaused: typeof fetch): Promise<string> {
  const Discovery = z.object({
    issuer: z.literal(issuer),
    jwks_uri: z.url({ protocol: issuer.startsWith('https:') ? /^https$/ : /^https?$/ }),
  })
  const url = `${issuer.replace(/\/$/, '')}/.well-known/openid-configuration`
  const response = await fetchUnlessPaused(url, { redirect: 'error', signal: AbortSignal.timeout(fetchTimeoutMs) })
  return Discovery.parse(await response.json()).jwks_uri
}

export default fp(jwt, { name: 'jwt', dependencies: ['auth'] })
