import { randomUUID } from 'node:crypto'
import { readdirSync } from 'node:fs'
import { parse } from 'node:path'
import type { Config } from '@repo/config'
import type { Database, Db, Store } from '@repo/db'
import type { Fallback, Llm } from '@repo/llm'
import { describeError, type MeasuredAnswer, type Tracing, toSourceStack } from '@repo/telemetry'
import Fastify, { type FastifyBaseLogger, type FastifyInstance, LogController } from 'fastify'
import type { ZodTypeProvider } from 'fastify-type-provider-zod'
import { type Chat, createChat } from './chat/chat.ts'
import { createMetrics, type Metrics } from './metrics/metrics.ts'
import auth from './plugins/auth.ts'
import cors from './plugins/cors.ts'
import errors, { handleClientError, handleError } from './plugins/errors.ts'
import openapi from './plugins/openapi.ts'
import overload, { type WatchDelay } from './plugins/overload.ts'
import page from './plugins/page.ts'
import enforceQuotas, { createQuotas } from './plugins/quotas.ts'
import security, { securityHeaders } from './plugins/security.ts'
import uploads, { toRequestTimeout } from './plugins/uploads.ts'
import validation from './plugins/validation.ts'

declare module 'fastify' {
  interface FastifyInstance {
    /** The query builder for your own queries. Never await a model inside its transactions. */
    db: Db
    /** The template's prepared queries. */
    store: Store
    llm: Llm
    chat: Chat
    /** The operator's instructions to the model. Undefined: the default instructions. */
    systemPrompt: string | undefined
    metrics: Metrics
    /** Counts and logs a model call that a fallback took over. */
    reportFallback: (fallback: Fallback) => void
    /** Rejects when the database does not respond in time. */
    pingDatabase: Database['ping']
  }
}

const clientClosedRequest = 499 // nginx's code for a client that disconnected before the response
const closeGraceMs = 2000 // for running requests; answers were drained before

/**
 * Limits in ms how long a slow client can occupy a socket. The number of sockets is not limited here: a limit that stops
 * an attacker would stop all clients. The proxy in front can limit by IP address.
 */
const socketLimits = {
  keepAliveTimeout: 72_000, // longer than the usual 60 s of load balancers, which must close idle connections first
  http: {
    headersTimeout: 15_000, // browsers open connections early and reconnect when they are closed
    connectionsCheckingInterval: 5000, // how late a timeout may be detected; Node's default is 30 s
    requireHostHeader: false, // Node would respond without a body, so errors.ts checks the header
    maxHeaderSize: 16_384, // bytes, including the URL; a JWT takes 1 to 2 kB
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

/** Builds the API without listening: plugins in order, then every file of routes/. The caller closes its arguments. */
export async function buildApp(options: AppOptions): Promise<FastifyInstance> {
  const { config, store, logger, tracing, watchDelay } = options
  const app = createServer(config, logger)
  const { metrics, quotas } = decorateApp(app, options)

  if (tracing) await app.register(tracing.traceRequests)
  reportRequests(app, metrics.countRequest)
  app.addHook('preClose', () => closeConnectionsSoon(app))
  await app.register(security)
  await app.register(errors)
  await app.register(validation)
  await app.register(openapi)
  await app.register(overload, { watchDelay })
  await app.register(uploads, config)
  await app.register(cors, config)
  await app.register(auth, { config, store })
  await app.register(enforceQuotas, { quotas })
  await app.register(import('./plugins/jwt.ts'), { config, store })
  await app.register(page)
  await app.register(import('./openai/routes.ts'), { prefix: '/v1' })
  await registerRoutes(app, new URL('./routes/', import.meta.url), (name) => import(`./routes/${name}.ts`))
  return app
}

function createServer(config: Config, logger: FastifyBaseLogger): FastifyInstance {
  const app = Fastify({
    loggerInstance: logger,
    // Fastify's request log contains the query string, which holds the search text.
    logController: new LogController({ disableRequestLogging: true }),
    genReqId: ({ headers }) => {
      const given = headers['x-request-id']
      return typeof given === 'string' && /^[\w.-]{1,64}$/.test(given) ? given : randomUUID()
    },
    // Requests with an undecodable URL bypass hooks and the error handler.
    frameworkErrors: (error, request, reply) => handleError(error, request, reply.headers(securityHeaders)),
    clientErrorHandler: handleClientError,
    routerOptions: { ignoreTrailingSlash: true },
    bodyLimit: 1024 * 1024, // bytes; routes may set a higher limit
    ...socketLimits,
    requestTimeout: toRequestTimeout(config),
    trustProxy: config.TRUST_PROXY,
    return503OnClosing: false, // Fastify's response is not problem+json; routes check for a shutdown themselves
  }).withTypeProvider<ZodTypeProvider>()
  app.removeContentTypeParser('text/plain') // accept JSON only; schemas would receive plain text as a string
  return app
}

/** Adds what routes use, and closes it with the app. */
function decorateApp(app: FastifyInstance, { config, database, store, llm, tracing }: AppOptions) {
  const { MAX_STREAMS: maxStreams, SYSTEM_PROMPT: systemPrompt } = config
  const metrics = createMetrics(config, database, llm)
  const quotas = createQuotas({ config, store, log: app.log })
  const limits = { maxTokens: config.MAX_ANSWER_TOKENS, timeoutMs: config.ANSWER_TIMEOUT_MS }
  const onAnswer = (answer: MeasuredAnswer) => {
    metrics.countAnswer(answer)
    tracing?.traceAnswer(answer)
  }
  const onFallback = ({ model, fallback, error }: Fallback) => {
    metrics.countFallback(model, fallback)
    app.log.warn({ model, fallback, error: describeError(error) }, 'a model failed, so its fallback was called')
  }
  const chat = createChat({ store, llm, log: app.log, maxStreams, quotas, limits, systemPrompt, onAnswer, onFallback })
  app.decorate('db', database.db)
  app.decorate('store', store)
  app.decorate('llm', llm)
  app.decorate('pingDatabase', database.ping)
  app.decorate('metrics', metrics)
  app.decorate('chat', chat)
  app.decorate('reportFallback', onFallback)
  app.decorate('systemPrompt', systemPrompt)
  app.addHook('onClose', async () => {
    chat.close()
    quotas.close()
    metrics.close()
  })
  return { metrics, quotas }
}

/** Closes all connections after a grace period. Node would wait a minute for each spare connection of a browser. */
async function closeConnectionsSoon({ server }: FastifyInstance): Promise<void> {
  setTimeout(() => server.closeAllConnections(), closeGraceMs).unref()
}

/**
 * Adds the request id to each response, and logs and counts each request when it ends. Fastify's `onResponse` hook does
 * not run when a client disconnects during a stream.
 */
function reportRequests(app: FastifyInstance, countRequest: Metrics['countRequest']) {
  app.addHook('onRequest', async (request, reply) => {
    reply.header('x-request-id', request.id)
    reply.raw.once('close', () => {
      const { elapsedTime, statusCode, raw } = reply
      const status = raw.headersSent ? statusCode : clientClosedRequest
      const ended = { method: request.method, route: request.routeOptions.url, status }
      countRequest(ended, elapsedTime)
      request.log.info({ ...ended, durationMs: Math.round(elapsedTime) }, 'request ended')
    })
  })
}

/**
 * Registers each file of a folder under its name: routes/notes.ts serves /notes. Skips its test and its schemas, which
 * are beside it. `load` imports a file by its name. Callers pass it, because the bundler follows only imports whose
 * folder it can see. Throws an error whose one-line message contains the file, the problem, its location and what to do.
 */
export async function registerRoutes(
  app: FastifyInstance,
  folder: URL,
  load: (name: string) => Promise<{ default?: unknown }>,
): Promise<void> {
  const files = readdirSync(folder).filter((file) => file.endsWith('.ts') && !/\.(?:test|schemas)\.ts$/.test(file))
  for (const file of files.sort()) {
    try {
      const module = await load(parse(file).name)
      if (!isPlugin(module.default)) throw new Error('No plugin found. Add `export default async (app) => { … }`.')
      await app.register(module.default, { prefix: `/${parse(file).name}` })
    } catch (error) {
      throw new Error(`routes/${file} cannot be served: ${explainRouteError(error)}`, { cause: error })
    }
  }
}

function isPlugin(value: unknown): value is (app: FastifyInstance) => Promise<void> {
  return typeof value === 'function'
}

/** What to do, by the code of errors whose message does not say it. */
const advice: Record<string, string> = {
  ERR_MODULE_NOT_FOUND: 'End relative imports in .ts. Install packages with `npm install NAME -w @repo/api`.',
  ERR_UNSUPPORTED_TYPESCRIPT_SYNTAX:
    'Node only strips types. Use a union of strings instead of an enum, and a field instead of a parameter property.',
  FST_ERR_DUPLICATED_ROUTE: 'It is declared twice, in this file or in another one. Rename or remove one.',
}

/** Returns an error's message, file and line, and what to do. Stack frames below the loader do not help route authors. */
function explainRouteError(error: unknown): string {
  if (!(error instanceof Error)) return String(error)
  const [stack = ''] = toSourceStack(error.stack ?? '').split(import.meta.url)
  const location = stack.match(/(?:^|file:\/\/)(?!.*node_modules)(\/.+?:\d+)/m)?.[1]?.replaceAll('%20', ' ')
  const sentence = `${error.message}${location ? ` (${location})` : ''}`
  const whatToDo = 'code' in error ? advice[String(error.code)] : undefined
  return (whatToDo ? `${sentence}. ${whatToDo}` : sentence).replaceAll(`${process.cwd()}/`, '')
}
