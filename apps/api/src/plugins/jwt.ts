import type { Config } from '@repo/config'
import type { Store } from '@repo/db'
import { describeError } from '@repo/telemetry'
import type { FastifyBaseLogger, FastifyInstance } from 'fastify'
import fp from 'fastify-plugin'
import { createRemoteJWKSet, customFetch, errors, type JWTVerifyGetKey, jwtVerify, type RemoteJWKSet } from 'jose'
import { z } from 'zod'
import { ProblemError } from './errors.ts'

export type JwtOptions = { config: Pick<Config, 'JWT_ISSUER' | 'JWT_AUDIENCE'>; store: Store }

/** The issuer's private key signs and its public one checks. With a shared secret (HS256) the public key could sign. */
const algorithms = ['RS256', 'RS384', 'RS512', 'PS256', 'PS384', 'PS512', 'ES256', 'ES384', 'ES512', 'EdDSA', 'Ed25519']
const clockToleranceSeconds = 30 // clocks that are kept by NTP are far nearer
const fetchTimeoutMs = 3000 // issuers answer within tens of ms; a client waits meanwhile
const pauseMs = 5000 // an issuer that failed is not asked again for each request

/** OIDC Core 1.0, section 2: an identifier at the issuer, never reassigned, of at most 255 characters. */
const Subject = z.string().regex(/^\P{C}{1,255}$/u)

/**
 * Takes JSON Web Tokens of `JWT_ISSUER` for `JWT_AUDIENCE`, beside keys. Their owner is called `ISSUER#SUBJECT`, where the
 * issuer holds no `#` (OpenID Connect Discovery 1.0, section 3). Where nobody has such tokens, delete this file, its test
 * and its line in `app.ts`, and `npm uninstall jose -w @repo/api`.
 */
async function jwt(
  app: FastifyInstance,
  { config: { JWT_ISSUER: issuer, JWT_AUDIENCE: audience }, store }: JwtOptions,
) {
  if (!issuer || !audience) return
  const findKey = createKeyFinder(issuer, app.log)
  const claims = { issuer, audience, algorithms, requiredClaims: ['exp'], clockTolerance: clockToleranceSeconds }
  app.authenticators.push(async ({ headers, log }) => {
    const [, token] = headers.authorization?.match(/^Bearer ([\w-]+\.[\w-]+\.[\w-]*)$/i) ?? []
    if (token === undefined) return undefined
    try {
      const { payload } = await jwtVerify(token, findKey, claims)
      return await store.owners.ensure(`${issuer}#${Subject.parse(payload.sub)}`)
    } catch (error) {
      throw toProblem(error, log)
    }
  })
}

function toProblem(error: unknown, log: FastifyBaseLogger): unknown {
  if (error instanceof errors.JWTExpired)
    return new ProblemError(401, 'token_expired', 'The token has expired: get a new one from its issuer.')
  if (!(error instanceof errors.JOSEError || error instanceof z.ZodError)) return error
  // What is wrong with a token, for whoever sets this up: the code names no value of it.
  log.debug({ reason: 'code' in error ? error.code : 'ERR_SUBJECT' }, 'a token was refused')
  return new ProblemError(401, 'unauthorized', 'Send a token that this API’s issuer has signed for this API.')
}

/** Finds the public key of a token. Throws `ProblemError` 503 while the issuer does not give its keys. */
function createKeyFinder(issuer: string, log: FastifyBaseLogger): JWTVerifyGetKey {
  let keySet: Promise<RemoteJWKSet> | undefined
  let pausedUntil = 0
  const fetchUnlessPaused: typeof fetch = async (...given) => {
    if (Date.now() < pausedUntil) throw new Error('the issuer failed a moment ago')
    return fetch(...given)
  }
  const fail = (error: unknown) => {
    if (Date.now() < pausedUntil) return
    pausedUntil = Date.now() + pauseMs
    log.warn({ error: describeError(error) }, 'the issuer of tokens does not give its keys')
  }
  return async (header, token) => {
    keySet ??= discoverKeys(issuer, fetchUnlessPaused)
    const current = keySet
    try {
      return await (await current)(header, token)
    } catch (error) {
      if (error instanceof errors.JWKSNoMatchingKey || error instanceof errors.JWKSMultipleMatchingKeys) throw error
      fail(error)
      const isFresh = await current.then(({ fresh }) => fresh).catch(() => false)
      if (!isFresh && keySet === current) keySet = undefined // the keys may be elsewhere by now
      throw new ProblemError(
        503,
        'issuer_unavailable',
        'The issuer of tokens does not answer; try again in a moment.',
        {
          retryAfterSeconds: pauseMs / 1000,
        },
      )
    }
  }
}

/**
 * The keys that OpenID Connect Discovery leads to: kept for ten minutes, and fetched again when a token has a key that is
 * not among them, at most every 30 s. Nothing is ever fetched from where a token says, and no redirect is followed.
 */
async function discoverKeys(issuer: string, fetchUnlessPaused: typeof fetch): Promise<RemoteJWKSet> {
  const Discovery = z.object({
    issuer: z.literal(issuer),
    jwks_uri: z.url({ protocol: issuer.startsWith('https:') ? /^https$/ : /^https?$/ }),
  })
  const url = `${issuer.replace(/\/$/, '')}/.well-known/openid-configuration`
  const response = await fetchUnlessPaused(url, { redirect: 'error', signal: AbortSignal.timeout(fetchTimeoutMs) })
  const { jwks_uri } = Discovery.parse(await response.json())
  return createRemoteJWKSet(new URL(jwks_uri), { timeoutDuration: fetchTimeoutMs, [customFetch]: fetchUnlessPaused })
}

export default fp(jwt, { name: 'jwt', dependencies: ['auth'] })
