import { randomUUID } from 'node:crypto'
import { readdirSync } from 'node:fs'
import type { Config, Prices } from '@repo/config'
import { createUsageRecorder, type Database, type Db, type Store, type UsageRecorder } from '@repo/db'
import type { Fallback, Llm } from '@repo/llm'
import { describeError, type MeasuredAnswer, type TraceWork, type Tracing } from '@repo/telemetry'
import Fastify, { type FastifyBaseLogger, type FastifyInstance, LogController } from 'fastify'
import type { ZodTypeProvider } from 'fastify-type-provider-zod'
import { type Chat, createChat } from './chat/chat.ts'
import { createSearch, type SearchPassages } from './chat/search-passages.ts'
import { loadTools, selectOffered, type Tools } from './chat/tools.ts'
import { createTitleWriter } from './chat/write-title.ts'
import { loadFiles } from './load-files.ts'
import { createMetrics, type Metrics } from './metrics/metrics.ts'
import auth from './plugins/auth.ts'
import cors from './plugins/cors.ts'
import errors, { handleClientError, handleError } from './plugins/error-handler.ts'
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
    /** Finds an owner's passages. Counts and logs failures of the embedding model and the reranker. */
    searchPassages: SearchPassages
    /** The operator's instructions to the model. Undefined: the default instructions. */
    systemPrompt: string | undefined
    /** The tools that the model may call, by name. */
    tools: Tools
    metrics: Metrics
    prices: Prices
    /** Counts what models are used for, per owner. */
    usage: UsageRecorder
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
  /** Default: those of tools/. */
  tools?: Tools | undefined
  /** How overload protection measures the event loop. */
  watchDelay?: WatchDelay | undefined
}

/** Builds the API without listening: plugins in order, then every file of routes/. The caller closes its arguments. */
export async function buildApp(options: AppOptions): Promise<FastifyInstance> {
  const { config, store, logger, tracing, watchDelay } = options
  const app = createServer(config, logger)
  const files = readdirSync(new URL('./tools/', import.meta.url))
  const tools = options.tools ?? (await loadTools(files, (name) => import(`./tools/${name}.ts`)))
  const { metrics, quotas, usage } = decorateApp(app, options, selectOffered(tools, config))

  if (tracing) await app.register(tracing.traceRequests)
  reportRequests(app, metrics.countRequest)
  app.addHook('preClose', () => closeConnectionsSoon(app))
  await app.register(security)
  await app.register(errors, { onRefusal: metrics.countRefusal })
  await app.register(validation)
  await app.register(openapi)
  await app.register(overload, { watchDelay })
  await app.register(uploads, config)
  await app.register(cors, config)
  await app.register(auth, { config, store, usage })
  await app.register(enforceQuotas, { config, usage, quotas })
  await app.register(import('./plugins/jwt.ts'), { config, store, usage })
  await app.register(page)
  await app.register(import('./openai/routes.ts'), { prefix: '/v1' })
  await app.register(import('./openai/responses/routes.ts'), { prefix: '/v1' })
  await app.register(import('./mcp/protected-resource.ts'), { config })
  await app.register(import('./mcp/routes.ts'), { prefix: '/mcp', config, tools, quotas })
  const routes = readdirSync(new URL('./routes/', import.meta.url))
  await registerRoutes(app, routes, (name) => import(`./routes/${name}.ts`))
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
function decorateApp(app: FastifyInstance, { config, database, store, llm, tracing }: AppOptions, tools: Tools) {
  const { MAX_STREAMS: maxStreams, MAX_STEPS: maxSteps, RETRIEVAL: retrieval, SYSTEM_PROMPT: systemPrompt } = config
  const metrics = createMetrics(config, database, llm)
  const usage = createUsageRecorder(metrics.countUsage)
  const quotas = createQuotas({ config, store, usage, log: app.log })
  const limits = { maxTokens: config.MAX_ANSWER_TOKENS, timeoutMs: config.ANSWER_TIMEOUT_MS }
  const onAnswer = (answer: MeasuredAnswer) => {
    metrics.countAnswer(answer)
    tracing?.traceAnswer(answer)
  }
  const onFallback = ({ model, fallback, error }: Fallback) => {
    metrics.countFallback(model, fallback)
    app.log.warn({ model, fallback, error: describeError(error) }, 'a model failed, so its fallback was called')
  }
  const { db } = database
  const trace: TraceWork = tracing?.traceWork ?? ((_, __, run) => run())
  const countFailure = metrics.countRetrievalFailure
  const searchPassages = createSearch({ store, llm, usage, log: app.log, countFailure, trace })
  const titles = usesTitleModel(config) ? createTitleWriter({ store, model: llm.chat, usage, log: app.log }) : undefined
  const chat = createChat({
    ...{ db, store, llm, tools, searchPassages, usage, log: app.log, quotas, titles, onAnswer, onFallback },
    ...{ maxStreams, maxSteps, limits, retrieval, systemPrompt, trace },
  })
  app.decorate('db', db)
  app.decorate('store', store)
  app.decorate('llm', llm)
  app.decorate('pingDatabase', database.ping)
  app.decorate('metrics', metrics)
  app.decorate('usage', usage)
  app.decorate('prices', config.prices)
  app.decorate('chat', chat)
  app.decorate('searchPassages', searchPassages)
  app.decorate('reportFallback', onFallback)
  app.decorate('systemPrompt', systemPrompt)
  app.decorate('tools', tools)
  app.addHook('onClose', async () => {
    chat.close()
    titles?.close()
    metrics.close()
    await quotas.close()
  })
  return { metrics, quotas, usage }
}

/** Returns whether a language model writes titles. Without CHAT_MODEL there is none. */
function usesTitleModel({ CHAT_MODEL, CONVERSATION_TITLES }: Config): boolean {
  return CHAT_MODEL !== undefined && CONVERSATION_TITLES === 'model'
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

/** Registers each of a folder's files under its name: routes/notes.ts serves /notes. Throws as `loadFiles` does. */
export async function registerRoutes(
  app: FastifyInstance,
  files: string[],
  load: (name: string) => Promise<{ default?: unknown }>,
): Promise<void> {
  const register = async (name: string, plugin: unknown) => {
    if (!isPlugin(plugin)) return 'No plugin found. Add `export default async (app) => { … }`.'
    await app.register(plugin, { prefix: `/${name}` })
    return undefined
  }
  await loadFiles(files, load, register, (file) => `routes/${file} cannot be served`)
}

function isPlugin(value: unknown): value is (app: FastifyInstance) => Promise<void> {
  return typeof value === 'function'
}
