import { randomUUID } from 'node:crypto'
import { readdirSync } from 'node:fs'
import { parse } from 'node:path'
import type { Database, Db, Store } from '@repo/db'
import type { Llm } from '@repo/llm'
import Fastify, { type FastifyBaseLogger, type FastifyInstance, LogController } from 'fastify'
import type { ZodTypeProvider } from 'fastify-type-provider-zod'
import { type Chat, createChat } from './chat/chat.ts'
import type { Measured } from './completions/call.ts'
import type { Config } from './config.ts'
import { createMetrics, type Metrics } from './metrics/metrics.ts'
import auth from './plugins/auth.ts'
import cors from './plugins/cors.ts'
import errors, { answerClientError, answerError } from './plugins/errors.ts'
import limits, { type WatchDelay } from './plugins/limits.ts'
import limitByOwner, { createOwnerLimits } from './plugins/limits-by-owner.ts'
import openapi from './plugins/openapi.ts'
import page from './plugins/page.ts'
import security, { securityHeaders } from './plugins/security.ts'
import shapes from './plugins/shapes.ts'
import type { Tracing } from './tracing/sdk.ts'

declare module 'fastify' {
  interface FastifyInstance {
    /** The query builder, for a route's own queries. Its transactions must not wait on a model. */
    db: Db
    /** The template's own queries, prepared. */
    store: Store
    llm: Llm
    chat: Chat
    /** The operator's instructions to the model; undefined = the template's own. */
    systemPrompt: string | undefined
    metrics: Metrics
    /** Rejects when the database does not answer in time. */
    pingDatabase: Database['ping']
  }
}

const clientLeft = 499 // nginx's word for one that did not wait for a response
const closeGraceMs = 2000 // for requests that run; answers have had their own time in the drain

/**
 * A client that trickles holds a socket for no longer than this, in ms. How many sockets there may be is not limited here:
 * any number that keeps an attacker out keeps everybody out. The proxy in front knows addresses.
 */
const socketLimits = {
  requestTimeout: 30_000, // a whole request: 8 MB, the largest, over 2.5 Mbit/s
  keepAliveTimeout: 72_000, // an idle connection: above the 60 s of usual load balancers, which must hang up first
  http: {
    headersTimeout: 15_000, // a browser may connect long before it asks, and copes with being hung up on
    connectionsCheckingInterval: 5000, // how late these may be noticed; Node's own is 30 s
    requireHostHeader: false, // Node would answer without a body; errors.ts asks for it
    maxHeaderSize: 16_384, // bytes, the URL among them; a token of an issuer takes 1 to 2 kB
  },
}

export type AppOptions = {
  config: Config
  database: Database
  store: Store
  llm: Llm
  logger: FastifyBaseLogger
  /** Undefined without `OTEL_EXPORTER_OTLP_ENDPOINT`. */
  tracing?: Tracing | undefined
  /** How overload protection measures the event loop. */
  watchDelay?: WatchDelay | undefined
}

/** The whole API, not listening yet: plugins in order, then every file of routes/. What it is given it does not close. */
export async function buildApp({
  config,
  database,
  store,
  llm,
  logger,
  tracing,
  watchDelay,
}: AppOptions): Promise<FastifyInstance> {
  const app = Fastify({
    loggerInstance: logger,
    // Its lines hold the query string, where /search has the question.
    logController: new LogController({ disableRequestLogging: true }),
    genReqId: ({ headers }) => {
      const given = headers['x-request-id']
      return typeof given === 'string' && /^[\w.-]{1,64}$/.test(given) ? given : randomUUID()
    },
    // A URL that cannot be decoded reaches no hook and no error handler.
    frameworkErrors: (error, request, reply) => answerError(error, request, reply.headers(securityHeaders)),
    clientErrorHandler: answerClientError,
    routerOptions: { ignoreTrailingSlash: true },
    bodyLimit: 1024 * 1024, // bytes; routes that take more say so
    ...socketLimits,
    trustProxy: config.TRUST_PROXY,
    return503OnClosing: false, // Fastify's own is no problem+json; what must not begin any more says so itself
  }).withTypeProvider<ZodTypeProvider>()

  app.removeContentTypeParser('text/plain') // every body is JSON; a text would reach the shapes as a string

  app.decorate('db', database.db)
  app.decorate('store', store)
  app.decorate('llm', llm)
  app.decorate('pingDatabase', database.ping)
  const { MAX_STREAMS: maxStreams, SYSTEM_PROMPT: systemPrompt } = config
  const metrics = createMetrics(config, database)
  const { countAnswer, countRequest } = metrics
  app.decorate('metrics', metrics)
  const onAnswer = (answer: Measured) => {
    countAnswer(answer)
    tracing?.traceAnswer(answer)
  }
  const ownerLimits = createOwnerLimits({ config, store, log: app.log })
  const chatOptions = { store, llm, log: app.log, maxStreams, ownerLimits, systemPrompt, onAnswer }
  app.decorate('chat', createChat(chatOptions))
  app.decorate('systemPrompt', systemPrompt)

  app.addHook('onClose', async () => {
    app.chat.close()
    ownerLimits.close()
    metrics.close()
  })

  if (tracing) await app.register(tracing.traceRequests)
  reportRequests(app, countRequest)
  app.addHook('preClose', () => limitClose(app))
  await app.register(security)
  await app.register(errors)
  await app.register(shapes)
  await app.register(openapi)
  await app.register(limits, { watchDelay })
  await app.register(cors, config)
  await app.register(auth, { config, store })
  await app.register(limitByOwner, { ownerLimits })
  await app.register(import('./plugins/jwt.ts'), { config, store })
  await app.register(page)
  await registerRoutes(app, new URL('./routes/', import.meta.url))
  return app
}

/** Browsers open connections ahead and never ask: Node waits a minute for each. */
async function limitClose({ server }: FastifyInstance): Promise<void> {
  setTimeout(() => server.closeAllConnections(), closeGraceMs).unref()
}

/**
 * Each request has an id, in its response and in its lines of the log, and one line when it has ended. Fastify's own hook for
 * that, `onResponse`, is not called for a client that leaves in the middle of a stream.
 */
function reportRequests(app: FastifyInstance, countRequest: Metrics['countRequest']) {
  app.addHook('onRequest', async (request, reply) => {
    reply.header('x-request-id', request.id)
    reply.raw.once('close', () => {
      const { elapsedTime, statusCode, raw } = reply
      const status = raw.headersSent ? statusCode : clientLeft
      const ended = { method: request.method, route: request.routeOptions.url, status }
      countRequest(ended, elapsedTime)
      request.log.info({ ...ended, durationMs: Math.round(elapsedTime) }, 'request ended')
    })
  })
}

/**
 * A file's name is its URL: routes/notes.ts serves /notes. Throws one line that names the file, what is wrong with it,
 * where, and what to do.
 */
export async function registerRoutes(app: FastifyInstance, folder: URL): Promise<void> {
  const files = readdirSync(folder).filter((file) => file.endsWith('.ts') && !file.endsWith('.test.ts'))
  for (const file of files.sort()) {
    try {
      const module: { default?: unknown } = await import(new URL(file, folder).href)
      if (!isPlugin(module.default)) throw new Error('it has no plugin: export default async (app) => { … }')
      await app.register(module.default, { prefix: `/${parse(file).name}` })
    } catch (error) {
      throw new Error(`routes/${file} cannot be served: ${explainRouteError(error)}`, { cause: error })
    }
  }
}

function isPlugin(value: unknown): value is (app: FastifyInstance) => Promise<void> {
  return typeof value === 'function'
}

/** What to do, by the code of an error that does not say it. */
const advice: Record<string, string> = {
  ERR_MODULE_NOT_FOUND: 'Relative imports end in .ts; a package comes with `npm install NAME -w @repo/api`.',
  ERR_UNSUPPORTED_TYPESCRIPT_SYNTAX:
    'Node only strips types: write a union of strings instead of an enum, a field instead of a parameter property.',
  FST_ERR_DUPLICATED_ROUTE: 'Two files, or two lines of this one, declare it: rename or remove one.',
}

/** An error's message, file and line, and what to do. The stack below the loader is no news to who wrote the route. */
function explainRouteError(error: unknown): string {
  if (!(error instanceof Error)) return String(error)
  const [stack = ''] = error.stack?.split(import.meta.url) ?? []
  const place = stack.match(/(?:^|file:\/\/)(?!.*node_modules)(\/.+?:\d+)/m)?.[1]?.replaceAll('%20', ' ')
  const sentence = `${error.message}${place ? ` (${place})` : ''}`
  const whatToDo = 'code' in error ? advice[String(error.code)] : undefined
  return (whatToDo ? `${sentence}. ${whatToDo}` : sentence).replaceAll(`${process.cwd()}/`, '')
}
