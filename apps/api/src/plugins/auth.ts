import { timingSafeEqual } from 'node:crypto'
import { isIPv4 } from 'node:net'
import { setTimeout as sleep } from 'node:timers/promises'
import type { Config } from '@repo/config'
import { hashSecret, type Store } from '@repo/db'
import { describeError } from '@repo/telemetry'
import type { FastifyInstance, FastifyRequest } from 'fastify'
import fp from 'fastify-plugin'
import { repeat } from '../repeat.ts'
import { ProblemError } from './errors.ts'

/** The id of the owner whose credentials a request carries; undefined when they are of another kind. Throws `ProblemError`. */
export type Authenticate = (request: FastifyRequest) => Promise<string | undefined>

declare module 'fastify' {
  interface FastifyRequest {
    /** The id of the owner that the request speaks for. Everything it reads and writes belongs to them. */
    owner: string
  }
  interface FastifyContextConfig {
    /** With `AUTH=off`, whoever reaches the API by its address may ask for this too: Prometheus, in a network of its own. */
    isScraped?: boolean
  }
  interface FastifyInstance {
    /** Asked in turn, until one knows whose a request is. A plugin after this one may add a kind of credentials. */
    authenticators: Authenticate[]
  }
}

export type AuthOptions = { config: Pick<Config, 'AUTH' | 'CORS_ORIGINS'>; store: Store }

const openRoutes = /^\/(?:$|assets\/|health\/|docs(?:\/|$)|openapi\.json$)/
const localHosts = new Set(['localhost', '127.0.0.1', '[::1]'])
const keyUseIntervalMs = 60_000 // whoever looks for unused keys thinks in days
const closeTimeoutMs = 1000 // a database that is away does not hold up the end of the process

/** Says who asks: the owner of the bearer key, or with `AUTH=off` the one local owner. */
async function auth(app: FastifyInstance, { config, store }: AuthOptions) {
  app.decorateRequest('owner', '')
  app.decorate('authenticators', [
    config.AUTH === 'off' ? createLocalAccess(config, store) : createKeyAccess(store, noteKeyUse(app, store)),
  ])
  app.addHook('onRequest', async (request) => {
    if (!isOpen(pathOf(request))) request.owner = await identify(app.authenticators, request)
  })
}

/** Whether anybody may ask for a path. */
export function isOpen(path: string): boolean {
  return openRoutes.test(path)
}

async function identify(authenticators: Authenticate[], request: FastifyRequest): Promise<string> {
  for (const authenticate of authenticators) {
    const owner = await authenticate(request)
    if (owner !== undefined) return owner
  }
  const detail = 'Send a valid key: `Authorization: Bearer sl_…` (npm run manage -- create-key).'
  throw new ProblemError(401, 'unauthorized', detail)
}

/** Without keys, only this machine's own programs may ask: a web page elsewhere gives itself away, or has a Host of its own. */
function createLocalAccess({ CORS_ORIGINS }: AuthOptions['config'], store: Store): Authenticate {
  let owner: string | undefined
  return async ({ headers: { host = '', origin, 'sec-fetch-site': site }, routeOptions }) => {
    const hostname = hostnameOf(`http://${host}`)
    // A page that has its own name point here comes with that name, and never with an address.
    const isLocal = localHosts.has(hostname) || (routeOptions.config.isScraped === true && isIPv4(hostname))
    // A browser sends no Origin when a page shows an image; but it says that the page is another.
    const isOwnPage =
      origin === undefined
        ? site !== 'cross-site' && site !== 'same-site'
        : origin === `http://${host}` || CORS_ORIGINS.includes(origin)
    if (!isLocal || !isOwnPage) {
      throw new ProblemError(
        403,
        'foreign_origin',
        'With AUTH=off only this machine may call; set AUTH=required to open the API.',
      )
    }
    owner ??= await store.owners.ensure('local')
    return owner
  }
}

/** Each request asks the database, and so a key that is revoked stops working at once, in every process. */
function createKeyAccess(store: Store, noteUse: (id: string) => void): Authenticate {
  return async ({ headers }) => {
    const [, id, secret] = headers.authorization?.match(/^Bearer sl_(\w{16})_([\w-]{43})$/i) ?? []
    const key = id ? await store.owners.findKey(id) : undefined
    if (!id || !key || !secret) return undefined
    if (!timingSafeEqual(Buffer.from(key.secretHash), Buffer.from(hashSecret(secret)))) return undefined
    noteUse(id)
    return key.ownerId
  }
}

/** Keys that were used are written down once a minute, all in one statement. Gives the function to tell one to. */
function noteKeyUse(app: FastifyInstance, store: Store): (id: string) => void {
  let used = new Set<string>()
  const write = async () => {
    if (used.size === 0) return
    const written = used
    used = new Set()
    try {
      await store.owners.noteKeyUse([...written])
    } catch (error) {
      used = used.union(written)
      throw error
    }
  }
  const warn = (error: unknown) => app.log.warn({ error: describeError(error) }, 'the use of keys could not be noted')
  const end = repeat(keyUseIntervalMs, write, warn)
  app.addHook('onClose', async () => {
    end()
    await Promise.race([write().catch(warn), sleep(closeTimeoutMs, undefined, { ref: false })])
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
