import { createHash, randomBytes, timingSafeEqual } from 'node:crypto'
import type { Store } from '@repo/db'
import type { FastifyInstance, FastifyRequest } from 'fastify'
import fp from 'fastify-plugin'
import type { Config } from '../config.ts'
import { ProblemError } from './errors.ts'

declare module 'fastify' {
  interface FastifyRequest {
    /** The id of the owner that the request speaks for. Everything it reads and writes belongs to them. */
    owner: string
  }
}

export type AuthOptions = { config: Pick<Config, 'AUTH' | 'CORS_ORIGINS'>; store: Store }

const openRoutes = /^\/(?:$|health\/|docs(?:\/|$)|openapi\.json$)/
const localHosts = new Set(['localhost', '127.0.0.1', '[::1]'])

/** Says who asks: the owner of the bearer key, or with `AUTH=off` the one local owner. */
async function auth(app: FastifyInstance, { config, store }: AuthOptions) {
  const authenticate = config.AUTH === 'off' ? createLocalAccess(config, store) : createKeyAccess(store)
  app.decorateRequest('owner', '')
  app.addHook('onRequest', async (request) => {
    if (openRoutes.test(pathOf(request))) return
    request.owner = await authenticate(request)
  })
}

/** Without keys, only this machine's own programs may ask: a web page elsewhere sends its Origin, or a Host of its own. */
function createLocalAccess({ CORS_ORIGINS }: AuthOptions['config'], store: Store) {
  let owner: string | undefined
  return async (request: FastifyRequest): Promise<string> => {
    const { origin, host = '' } = request.headers
    const isLocal = localHosts.has(hostnameOf(`http://${host}`))
    const isOwnPage = origin === undefined || origin === `http://${host}` || CORS_ORIGINS.includes(origin)
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

function createKeyAccess(store: Store) {
  return async (request: FastifyRequest): Promise<string> => {
    const [, id, secret] = request.headers.authorization?.match(/^Bearer sl_(\w{16})_([\w-]{43})$/i) ?? []
    const key = id ? await store.owners.findKey(id) : undefined
    if (key && secret && timingSafeEqual(Buffer.from(key.secretHash), Buffer.from(hashSecret(secret))))
      return key.ownerId
    throw new ProblemError(
      401,
      'unauthorized',
      'Send a valid key: `Authorization: Bearer sl_…` (npm run manage -- create-key).',
    )
  }
}

/** Makes a key of 256 random bits for an owner, who is made when new. Only its hash is stored: it cannot be shown again. */
export async function createKey(store: Store, ownerName: string): Promise<string> {
  const id = randomBytes(8).toString('hex')
  const secret = randomBytes(32).toString('base64url')
  const owner = await store.owners.ensure(ownerName)
  await store.owners.addKey(owner, id, hashSecret(secret))
  return `sl_${id}_${secret}`
}

function hashSecret(secret: string): string {
  return createHash('sha256').update(secret).digest('hex')
}

function pathOf(request: FastifyRequest): string {
  return request.url.split('?', 1)[0] ?? ''
}

function hostnameOf(url: string): string {
  return URL.canParse(url) ? new URL(url).hostname : ''
}

export default fp(auth, { name: 'auth', dependencies: ['errors'] })
