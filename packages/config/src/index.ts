import { z } from 'zod'
import { access, checkAccess } from './access.ts'
import { readChatModels } from './chat-models.ts'
import { ConfigError, toConfigError } from './config-error.ts'
import { databaseUrl } from './database-url.ts'
import { checkModels, type ModelConfig, models, type WithChatModels } from './models.ts'
import { type Prices, readPrices } from './prices.ts'
import { cleanEnvironment, httpUrl, integer, optional } from './values.ts'

export { ConfigError } from './config-error.ts'
export { findEmbeddingServer, findProxies, findReranker, type ModelConfig } from './models.ts'
export { computeCost, type Prices } from './prices.ts'

/** In bytes. A PDF of 1,000 pages with pictures has about this size. */
export const maxFileSize = 20 * 1024 * 1024

/** Checked here only. The OpenTelemetry SDK and its exporter read these and other `OTEL_` variables themselves. */
const tracing = {
  OTEL_EXPORTER_OTLP_ENDPOINT: httpUrl.optional(),
  OTEL_TRACES_SAMPLER: z
    .enum([
      'always_on',
      'always_off',
      'traceidratio',
      'parentbased_always_on',
      'parentbased_always_off',
      'parentbased_traceidratio',
    ])
    .optional(),
  OTEL_TRACES_SAMPLER_ARG: z
    .string()
    .regex(/^(0(\.\d+)?|1(\.0+)?)$/, 'must be a number from 0 to 1')
    .optional(),
  /** Whether spans contain the texts of model calls and tools. Values as in OpenTelemetry's own instrumentations. */
  OTEL_INSTRUMENTATION_GENAI_CAPTURE_MESSAGE_CONTENT: z
    .stringbool({
      truthy: ['span_only', 'true'],
      falsy: ['no_content', 'false'],
      error: 'must be span_only or no_content',
    })
    .default(false),
}

/** The worker holds a PDF or Word file in memory while it reads it, and has 1 GB for that. */
const maxUploadMb = integer(1, 500).default(50) // a PDF of 1,000 pages with pictures

/** Shared by API, worker and CLI, because all must know which types of files can be read. */
const extractor = {
  EXTRACTOR_URL: httpUrl
    .refine(
      (url) => !/^https?:\/\/[^/?#]*@/.test(url),
      'must not contain a user name. Protect the server by its network',
    )
    .optional(),
}

const logLevel = z.enum(['fatal', 'error', 'warn', 'info', 'debug', 'trace', 'silent']).default('info')

const ApiEnvironment = z
  .object({
    ...models,
    ...extractor,
    ...tracing,
    CHAT_MODELS: optional, // chat-models.ts reads it and the file
    CHAT_MODELS_FILE: optional,
    DATABASE_URL: databaseUrl,
    DATABASE_POOL_SIZE: integer(1, 10_000).default(10), // a chat uses a connection for 3 to 10 ms in total
    PGBOUNCER_ADMIN_URL: databaseUrl.optional(),
    PORT: integer(0, 65_535).default(3000),
    HOST: z.string().default('127.0.0.1'),
    LOG_LEVEL: logLevel,
    WEB_CONCURRENCY: integer(1, 1024).default(1),
    MAX_STREAMS: integer(1, 1_000_000).default(2000), // about 50 kB each, and near the capacity of one core
    OWNER_REQUESTS_PER_MINUTE: integer(1, 1_000_000).optional(),
    OWNER_STREAMS: integer(1, 1_000_000).optional(),
    OWNER_TOKENS_PER_DAY: integer(0, 1_000_000_000_000).default(0), // 0: no limit
    PRICES_FILE: optional, // readPrices reads it
    MAX_UPLOAD_MB: maxUploadMb,
    DRAIN_TIMEOUT_MS: integer(0, 3_600_000).default(30_000), // most answers end within half a minute
    SYSTEM_PROMPT: optional,
    RETRIEVAL: z.enum(['always', 'tool', 'off']).default('always'),
    MAX_STEPS: integer(1, 100).default(5), // model calls per answer; each takes seconds, and few questions need more
    CONVERSATION_TITLES: z.enum(['model', 'question']).default('model'),
    ...access,
  })
  .superRefine(checkAccess)
  .superRefine(checkModels)

const WorkerEnvironment = z
  .object({
    ...models,
    ...extractor,
    ...tracing,
    DATABASE_URL: databaseUrl,
    WORKER_CONCURRENCY: integer(1, 100).default(2), // one document is read while the model server embeds the other
    LOG_LEVEL: logLevel,
  })
  .superRefine(checkModels)

const MigrationEnvironment = z.object({ ...models, DIRECT_DATABASE_URL: databaseUrl }).superRefine(checkModels)

const ManageEnvironment = z
  .object({
    ...models,
    ...extractor,
    DATABASE_URL: databaseUrl,
    DIRECT_DATABASE_URL: databaseUrl.optional(),
    MAX_UPLOAD_MB: maxUploadMb,
  })
  .superRefine(checkModels)

const ModelEnvironment = z.object(models).superRefine(checkModels)

const DoctorEnvironment = ApiEnvironment.safeExtend({
  DIRECT_DATABASE_URL: databaseUrl.optional(),
})

export type Config = z.output<typeof ApiEnvironment> & WithChatModels & { prices: Prices }
export type WorkerConfig = z.output<typeof WorkerEnvironment>
export type MigrationConfig = z.output<typeof MigrationEnvironment>
export type DoctorConfig = ReturnType<typeof readDoctorConfig>
export type TracingConfig = z.output<z.ZodObject<typeof tracing>>

/** Returns the settings of the API. Throws `ConfigError`. */
export function readConfig(environment: NodeJS.ProcessEnv = process.env): Config {
  const config = addChatModels(parse(ApiEnvironment, environment), environment)
  return { ...config, prices: readPriceList(environment) }
}

/** Returns the settings of `npm run worker`. Throws `ConfigError`. */
export function readWorkerConfig(environment: NodeJS.ProcessEnv = process.env): WorkerConfig {
  return parse(WorkerEnvironment, environment)
}

/** Returns the settings of `npm run db:migrate`. Throws `ConfigError`. */
export function readMigrationConfig(environment: NodeJS.ProcessEnv = process.env): MigrationConfig {
  return parse(MigrationEnvironment, environment)
}

/** Returns the settings of the models alone. Throws `ConfigError`. */
export function readModelConfig(environment: NodeJS.ProcessEnv = process.env): ModelConfig {
  return parse(ModelEnvironment, environment)
}

/** Returns the settings of `npm run manage`. Throws `ConfigError`. */
export function readManageConfig(environment: NodeJS.ProcessEnv = process.env) {
  return parse(ManageEnvironment, environment)
}

/** Returns the prices of models. Throws `ConfigError`. */
export function readPriceList(environment: NodeJS.ProcessEnv = process.env): Prices {
  return readPrices(cleanEnvironment(environment))
}

/**
 * Returns the settings that `npm run manage -- doctor` checks. Does not throw: invalid values are undefined and listed
 * in `problems`.
 */
export function readDoctorConfig(environment: NodeJS.ProcessEnv = process.env) {
  const values = cleanEnvironment(environment)
  const { PORT, HOST } = DoctorEnvironment.shape
  return {
    /** One line per invalid variable with its name and the expected value. */
    problems: [
      ...attempt(() => addChatModels(parse(DoctorEnvironment, environment), environment)).problems,
      ...attempt(() => readPriceList(environment)).problems,
    ],
    databaseUrl: databaseUrl.safeParse(values.DATABASE_URL).data,
    directUrl: databaseUrl.safeParse(values.DIRECT_DATABASE_URL).data,
    adminUrl: databaseUrl.safeParse(values.PGBOUNCER_ADMIN_URL).data,
    port: PORT.safeParse(values.PORT).data,
    host: HOST.safeParse(values.HOST).data,
    models: attempt(() => addChatModels(parse(ModelEnvironment, environment), environment)).config,
  }
}

function attempt<T>(read: () => T): { config?: T; problems: string[] } {
  try {
    return { config: read(), problems: [] }
  } catch (error) {
    if (error instanceof ConfigError) return { problems: error.message.split('\n') }
    throw error
  }
}

function parse<Schema extends z.ZodType>(schema: Schema, environment: NodeJS.ProcessEnv): z.output<Schema> {
  const result = schema.safeParse(cleanEnvironment(environment), { reportInput: true }) // tells a missing variable from an invalid one
  if (result.success) return result.data
  throw toConfigError(result.error.issues)
}

function addChatModels<T extends ModelConfig>(config: T, environment: NodeJS.ProcessEnv): T & WithChatModels {
  return { ...config, chatModels: readChatModels(config, cleanEnvironment(environment)) }
}
