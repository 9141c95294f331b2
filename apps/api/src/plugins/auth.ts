import { timingSafeEqual } from 'node:crypto'
import { isIPv4 } from 'node:net'
import { setTimeout as sleep } from 'node:timers/promises'
import type { Config } from '@repo/config'
import { hashSecret, type KeyScope, localOwner, type Store, type UsageRecorder } from '@repo/db'
import { describeError } from '@repo/telemetry'
import type { FastifyInstance, FastifyRequest } from 'fastify'
import fp from 'fastify-plugin'
import { repeat } from '../repeat.ts'
import { type Budget, isSpending } from './budgets.ts'
import { ProblemError } from './errors.ts'
import { assertScope } from './scopes.ts'

/** The sender of a request. */
export type Identity = {
  owner: string
  organization?: string | null | undefined
  /** Whether the sender may share documents with the organization. Default: no. */
  isLibrarian?: boolean
  /** What the sender may do. Null or unset: everything. */
  scopes?: KeyScope[] | null
}

/** Returns who sent a request, or undefined for another kind of credentials. Throws `ProblemError`. */
export type Authenticate = (request: FastifyRequest) => Promise<Identity | undefined>

declare module 'fastify' {
  interface FastifyRequest {
    /** The id of the authenticated owner. Everything the request reads and writes belongs to this owner. */
    owner: string
    /** The id of the organization whose shared documents this request may read. */
    organization: string | undefined
    /** Whether this request may share documents with the organization, and delete shared ones. */
    isLibrarian: boolean
  }
  interface FastifyContextConfig {
    /** With `AUTH=off`, also allows requests to an IP address, so that Prometheus can scrape from another container. */
    allowMetricsScrape?: boolean
  }
  interface FastifyInstance {
    /** Called in order until one returns an owner. Later plugins may add their own kind of credentials. */
    authenticators: Authenticate[]
  }
}

export type AuthOptions = {
  config: Pick<Config, 'AUTH' | 'ALLOWED_HOSTS' | 'CORS_ORIGINS' | 'OWNER_TOKENS_PER_DAY'>
  store: Store
  /** What this process has counted, which is left out of what the database returns for budgets. */
  usage: UsageRecorder
}

const publicPaths = /^\/(?:$|assets\/|health\/|docs(?:\/|$)|openapi\.json\/?$|\.well-known\/oauth-protected-resource\/)/
const localHosts = new Set(['localhost', '127.0.0.1', '[::1]'])
const keyUsageIntervalMs = 60_000 // unused keys are looked for in days, not seconds
const budgetIntervalMs = 1000 // as often as usage is stored
const closeTimeoutMs = 1000 // an unreachable database must not delay the exit

/**
 * Sets `request.owner`: the owner of the bearer key, or the single local owner with `AUTH=off`. And the organization. Rejects
 * keys whose scopes do not include what the route needs.
 */
async function auth(app: FastifyInstance, options: AuthOptions) {
  app.decorateRequest('owner', '')
  app.decorateRequest('organization', undefined)
  app.decorateRequest('isLibrarian', false)
  app.decorateRequest('keyId', undefined)
  app.decorateRequest('budget', undefined)
  app.decorate('authenticators', [
    options.config.AUTH === 'off'
      ? createLocalAccess(app, options)
      : createKeyAccess(options, createKeyUsageRecorder(app, options.store)),
  ])
  app.addHook('onRequest', async (request) => {
    if (isPublicPath(pathOf(request))) return
    const { owner, organization, isLibrarian = false, scopes = null } = await identify(app.authenticators, request)
    assertScope(request, scopes)
    Object.assign(request, { owner, organization: organization ?? undefined, isLibrarian })
  })
}

/** Whether a path needs no authentication. */
export function isPublicPath(path: string): boolean {
  return publicPaths.test(path)
}

async function identify(authenticators: Authenticate[], request: FastifyRequest): Promise<Identity> {
  for (const authenticate of authenticators) {
    const identity = await authenticate(request)
    if (identity) return identity
  }
  const detail =
    'Missing or invalid API key. Send `Authorization: Bearer sl_…`. Create a key with `npm run manage -- create-key`.'
  throw new ProblemError(401, 'unauthorized', detail)
}

const foreignHost =
  'With AUTH=off, only this machine has access, as localhost. If the client runs in a container, set ALLOWED_HOSTS=host.docker.internal or whatever name it uses. For other machines set AUTH=required.'
const foreignPage =
  "With AUTH=off, only local programs and the API's own page have access. Add another page's origin to CORS_ORIGINS, or set AUTH=required."

/**
 * Accepts only programs on this machine, and those that call it by an allowed name. Host, Origin and Sec-Fetch-Site reveal
 * requests from other web pages.
 */
function createLocalAccess(app: FastifyInstance, options: AuthOptions): Authenticate {
  const { ALLOWED_HOSTS, CORS_ORIGINS } = options.config
  const hosts = new Set([...localHosts, ...ALLOWED_HOSTS])
  const findOwner = createLocalOwner(app, options)
  return async (request) => {
    const { headers, routeOptions } = request
    const { host = '', origin, 'sec-fetch-site': site } = headers
    const hostname = hostnameOf(`http://${host}`)
    // DNS rebinding sends the attacker's host name, never an IP address.
    const isLocal = hosts.has(hostname) || (routeOptions.config.allowMetricsScrape === true && isIPv4(hostname))
    // Browsers send no Origin for images, but Sec-Fetch-Site still shows that the page is another one.
    const isOwnPage =
      origin === undefined
        ? site !== 'cross-site' && site !== 'same-site'
        : origin === `http://${host}` || CORS_ORIGINS.includes(origin)
    if (!isLocal) throw new ProblemError(403, 'foreign_origin', foreignHost)
    if (!isOwnPage) throw new ProblemError(403, 'foreign_origin', foreignPage)
    const { id, budget } = await findOwner()
    request.budget = budget
    return { owner: id }
  }
}

type LocalOwner = { id: string; budget: Budget | undefined }

/** Returns a function that returns the only owner. With a budget, what it has used is read once per second. */
function createLocalOwner(app: FastifyInstance, { config, store, usage }: AuthOptions): () => Promise<LocalOwner> {
  let found: LocalOwner | undefined
  const hasBudget = config.OWNER_TOKENS_PER_DAY > 0
  const read = async (): Promise<LocalOwner> => {
    const { owner: id, spent = null } = await store.owners.ensureMember(localOwner, '', {
      ...usage.spentBy(),
      isSpending: hasBudget,
    })
    found = { id, budget: hasBudget ? { tokensPerDay: null, spent } : undefined }
    return found
  }
  const refresh = async () => void (await read())
  const warn = (error: unknown) => app.log.warn({ error: describeError(error) }, 'failed to read the used tokens')
  if (hasBudget) {
    const end = repeat(budgetIntervalMs, refresh, warn)
    app.addHook('onClose', async () => end())
  }
  return async () => found ?? read()
}

const expiredKey = 'The API key has expired. Send a newer one. Its operator creates or rotates keys.'

/**
 * Authenticates API keys. Each request queries the database, so a revoked or expired key stops working at once in every
 * process, as does an ended membership. The same query returns what has been used of a budget.
 */
function createKeyAccess({ store, usage, config }: AuthOptions, recordUsage: (id: string) => void): Authenticate {
  const hasBudget = config.OWNER_TOKENS_PER_DAY > 0
  return async (request) => {
    const [, id, secret] = request.headers.authorization?.match(/^Bearer sl_(\w{16})_([\w-]{43})$/i) ?? []
    const spending = { ...usage.spentBy(), isSpending: isSpending(request), hasBudget }
    const key = id ? await store.owners.findKey(id, spending) : undefined
    if (!id || !key || !secret) return undefined
    if (!timingSafeEqual(Buffer.from(key.secretHash), Buffer.from(hashSecret(secret)))) return undefined
    if (key.isExpired) throw new ProblemError(401, 'key_expired', expiredKey) // said only to those who have the secret
    recordUsage(id)
    request.keyId = id
    if (key.spent) request.budget = { tokensPerDay: key.tokensPerDay, spent: key.spent }
    return key
  }
}

/** Returns a function that marks a key as used. Used keys are saved once per minute, in one statement. */
function createKeyUsageRecorder(app: FastifyInstance, store: Store): (id: string) => void {
  let used = new Set<string>()
  const save = async () => {
    if (used.size === 0) return
    const saving = used
    used = new Set()
    try {
      await store.owners.recordKeyUsage([...saving])
    } catch (error) {
      used = used.union(saving)
      throw error
    }
  }
  const warn = (error: unknown) => app.log.warn({ error: describeError(error) }, 'failed to record API key usage')
  const end = repeat(keyUsageIntervalMs, save, warn)
  app.addHook('onClose', async () => {
    end()
    await Promise.race([save().catch(warn), sleep(closeTimeoutMs, undefined, { ref: false })])
  })
  return (id) => used.add(id)
}

function pathOf(request: FastifyRequest): string {
  return request.url.split('?', 1)[0] ?? ''
}

function hostnameOf(url: string): string {
  return URL.canParse(url) ? new URL(url).hostname : ''
}

export default fp(auth, { name: 'auth', dependencies: ['errors'] })
