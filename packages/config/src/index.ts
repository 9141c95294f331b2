import { z } from 'zod'
import { type ChatModelConfig, readChatModels } from './chat-models.ts'
import { ConfigError, toConfigError } from './config-error.ts'

export { ConfigError } from './config-error.ts'

/** In bytes. A PDF of 1,000 pages with pictures has about this size. */
export const maxFileSize = 20 * 1024 * 1024

const optional = z
  .string()
  .optional()
  .transform((value) => value || undefined)
/** Spaces at its ends count, and `\\n` is a line break, which a line of `.env` cannot contain. */
const prefix = optional.transform((value) => value?.replaceAll('\\n', '\n'))
const integer = (min: number, max: number) => z.coerce.number().int().min(min).max(max)
const postgresUrl = z.url({
  protocol: /^postgres(ql)?$/,
  error: 'must be a URL like postgres://user:password@host:6432/database',
})
const httpUrl = z.url({ protocol: /^https?$/, error: 'must be a URL like https://api.openai.com/v1' })
/**
 * Compared character by character with the `iss` of tokens. Over plain HTTP, an attacker could serve their own signing
 * keys.
 */
const issuerError = 'must be a URL like https://login.example without ? and #. http is allowed for localhost only'
const issuerUrl = z.url({ abort: true, error: issuerError }).refine(isIssuer, issuerError)
const list = z
  .string()
  .default('')
  .transform((value) =>
    value
      .split(',')
      .map((entry) => entry.trim())
      .filter(Boolean),
  )
  .refine((origins) => origins.every(isOrigin), 'must be a comma-separated list of origins like https://chat.example')

/** Returns whether the text is an origin as browsers send it: without path and trailing slash. */
function isOrigin(text: string): boolean {
  return URL.canParse(text) && new URL(text).origin === text
}

function isIssuer(text: string): boolean {
  const { protocol, hostname } = new URL(text)
  const isLocal = ['localhost', '127.0.0.1', '[::1]'].includes(hostname)
  return (protocol === 'https:' || (protocol === 'http:' && isLocal)) && !/[?#]/.test(text)
}

const models = {
  OPENAI_BASE_URL: httpUrl.default('https://api.openai.com/v1'),
  OPENAI_API_KEY: optional,
  CHAT_MODEL: optional,
  EMBEDDING_BASE_URL: httpUrl.optional(),
  EMBEDDING_API_KEY: optional,
  EMBEDDING_MODEL: optional,
  EMBEDDING_DIMENSIONS: integer(1, 16_000).optional(), // pgvector's limit for halfvec
  EMBEDDING_QUERY_PREFIX: prefix,
  EMBEDDING_DOCUMENT_PREFIX: prefix,
  RERANK_BASE_URL: httpUrl.optional(),
  RERANK_MODEL: optional,
  RERANK_API_KEY: optional,
  MODEL_FIRST_BYTE_TIMEOUT_MS: integer(1, 3_600_000).default(120_000), // reasoning models may think for a minute or two
  MODEL_IDLE_TIMEOUT_MS: integer(1, 3_600_000).default(60_000), // between two tokens; normally far less
  MAX_ANSWER_TOKENS: integer(1, 10_000_000).default(16_384), // about 12,000 words; what vendors allow for usual chat models
  ANSWER_TIMEOUT_MS: integer(1, 86_400_000).default(600_000), // OpenAI's own clients wait no longer than ten minutes
}

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
}

/** The worker holds a PDF or Word file in memory while it reads it, and has 1 GB for that. */
const maxUploadMb = integer(1, 500).default(50) // a PDF of 1,000 pages with pictures

const logLevel = z.enum(['fatal', 'error', 'warn', 'info', 'debug', 'trace', 'silent']).default('info')

const ApiEnvironment = z
  .object({
    ...models,
    ...tracing,
    CHAT_MODELS: optional, // chat-models.ts reads it and the file
    CHAT_MODELS_FILE: optional,
    NODE_ENV: optional,
    DATABASE_URL: postgresUrl,
    DATABASE_POOL_SIZE: integer(1, 10_000).default(10), // a chat uses a connection for 3 to 10 ms in total
    PGBOUNCER_ADMIN_URL: postgresUrl.optional(),
    PORT: integer(0, 65_535).default(3000),
    HOST: z.string().default('127.0.0.1'),
    LOG_LEVEL: logLevel,
    WEB_CONCURRENCY: integer(1, 1024).default(1),
    MAX_STREAMS: integer(1, 1_000_000).default(2000), // about 50 kB each, and near the capacity of one core
    OWNER_REQUESTS_PER_MINUTE: integer(1, 1_000_000).optional(),
    OWNER_STREAMS: integer(1, 1_000_000).optional(),
    MAX_UPLOAD_MB: maxUploadMb,
    DRAIN_TIMEOUT_MS: integer(0, 3_600_000).default(30_000), // most answers end within half a minute
    SYSTEM_PROMPT: optional,
    RETRIEVAL: z.enum(['always', 'tool', 'off']).default('always'),
    MAX_STEPS: integer(1, 100).default(5), // model calls per answer; each takes seconds, and few questions need more
    CONVERSATION_TITLES: z.enum(['model', 'question']).default('model'),
    AUTH: z.enum(['required', 'off']).default('required'),
    JWT_ISSUER: issuerUrl.optional(),
    JWT_AUDIENCE: optional,
    CORS_ORIGINS: list,
    TRUST_PROXY: z.stringbool({ truthy: ['true'], falsy: ['false'] }).default(false),
  })
  .refine((env) => !(env.AUTH === 'off' && env.NODE_ENV === 'production'), {
    path: ['AUTH'],
    error: 'cannot be off with NODE_ENV=production. Set AUTH=required',
  })
  .refine((env) => env.JWT_AUDIENCE === undefined || env.JWT_ISSUER !== undefined, {
    path: ['JWT_ISSUER'],
    error: 'is required with JWT_AUDIENCE. Set it to the URL of the token issuer',
  })
  .refine((env) => env.JWT_ISSUER === undefined || env.JWT_AUDIENCE !== undefined, {
    path: ['JWT_AUDIENCE'],
    error: 'is required with JWT_ISSUER. Set it to the `aud` of the tokens for this API',
  })
  .superRefine(checkEmbedding)

const WorkerEnvironment = z
  .object({
    ...models,
    ...tracing,
    DATABASE_URL: postgresUrl,
    WORKER_CONCURRENCY: integer(1, 100).default(2), // one document is read while the model server embeds the other
    LOG_LEVEL: logLevel,
  })
  .superRefine(checkEmbedding)

const MigrationEnvironment = z.object({ ...models, DIRECT_DATABASE_URL: postgresUrl }).superRefine(checkEmbedding)

const ManageEnvironment = z
  .object({
    ...models,
    DATABASE_URL: postgresUrl,
    DIRECT_DATABASE_URL: postgresUrl.optional(),
    MAX_UPLOAD_MB: maxUploadMb,
  })
  .superRefine(checkEmbedding)

const ModelEnvironment = z.object(models).superRefine(checkEmbedding)

const DoctorEnvironment = ApiEnvironment.safeExtend({
  DIRECT_DATABASE_URL: postgresUrl.optional(),
})

export type Config = z.output<typeof ApiEnvironment> & WithChatModels
export type WorkerConfig = z.output<typeof WorkerEnvironment>
export type MigrationConfig = z.output<typeof MigrationEnvironment>
export type DoctorConfig = ReturnType<typeof readDoctorConfig>
export type ModelConfig = z.output<z.ZodObject<typeof models>> & WithChatModels
export type TracingConfig = z.output<z.ZodObject<typeof tracing>>

/** The chat models that a request may choose. Undefined in programs that do not chat. */
type WithChatModels = { chatModels?: ChatModelConfig[] }

/** Returns the server of `EMBEDDING_MODEL`. Each key is sent to its own server only. */
export function findEmbeddingServer(env: ModelConfig) {
  return env.EMBEDDING_BASE_URL
    ? { baseUrl: env.EMBEDDING_BASE_URL, apiKey: env.EMBEDDING_API_KEY }
    : { baseUrl: env.OPENAI_BASE_URL, apiKey: env.EMBEDDING_API_KEY ?? env.OPENAI_API_KEY }
}

function checkEmbedding(env: ModelConfig, context: z.RefinementCtx) {
  checkEmbeddingKey(env, context)
  checkReranker(env, context)
  for (const name of ['EMBEDDING_QUERY_PREFIX', 'EMBEDDING_DOCUMENT_PREFIX'] as const) {
    if (env[name] === undefined || env.EMBEDDING_MODEL) continue
    const message = 'needs EMBEDDING_MODEL. Set both or neither'
    context.addIssue({ code: 'custom', path: [name], message })
  }
}

/** Reports a missing key for api.openai.com at startup instead of at the first question. Local servers need no key. */
function checkEmbeddingKey(env: ModelConfig, { addIssue }: z.RefinementCtx) {
  const { baseUrl, apiKey } = findEmbeddingServer(env)
  if (!env.EMBEDDING_MODEL || apiKey !== undefined || new URL(baseUrl).hostname !== 'api.openai.com') return
  const server = env.EMBEDDING_BASE_URL ? 'EMBEDDING' : 'OPENAI'
  const message = `is required for api.openai.com. Set it, or set ${server}_BASE_URL to another server`
  addIssue({ code: 'custom', path: [`${server}_API_KEY`], message })
}

/** Returns the reranker and its server, or undefined if there is none. No other server's key is sent there. */
export function findReranker({ RERANK_BASE_URL: baseUrl, RERANK_MODEL: model, RERANK_API_KEY: apiKey }: ModelConfig) {
  return baseUrl && model ? { baseUrl, model, apiKey } : undefined
}

function checkReranker(env: ModelConfig, { addIssue }: z.RefinementCtx) {
  const report = (name: string, message: string) => addIssue({ code: 'custom', path: [name], message })
  if (env.RERANK_BASE_URL && !env.RERANK_MODEL)
    report('RERANK_MODEL', 'is required with RERANK_BASE_URL. Set it to the name of the reranker')
  for (const name of ['RERANK_MODEL', 'RERANK_API_KEY'] as const)
    if (env[name] && !env.RERANK_BASE_URL) report(name, 'needs RERANK_BASE_URL. Set both or neither')
}

/** Returns the settings of the API. Throws `ConfigError`. */
export function readConfig(environment: NodeJS.ProcessEnv = process.env): Config {
  return addChatModels(parse(ApiEnvironment, environment), environment)
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
export function readManageConfig(environment: NodeJS.ProcessEnv = process.env): z.output<typeof ManageEnvironment> {
  return parse(ManageEnvironment, environment)
}

/**
 * Returns the settings that `npm run manage -- doctor` checks. Does not throw: invalid values are undefined and listed
 * in `problems`.
 */
export function readDoctorConfig(environment: NodeJS.ProcessEnv = process.env) {
  const values = dropBlank(environment)
  const { PORT, HOST } = DoctorEnvironment.shape
  return {
    /** One line per invalid variable with its name and the expected value. */
    problems: attempt(() => addChatModels(parse(DoctorEnvironment, environment), environment)).problems,
    databaseUrl: postgresUrl.safeParse(values.DATABASE_URL).data,
    directUrl: postgresUrl.safeParse(values.DIRECT_DATABASE_URL).data,
    adminUrl: postgresUrl.safeParse(values.PGBOUNCER_ADMIN_URL).data,
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
  const result = schema.safeParse(dropBlank(environment), { reportInput: true }) // tells a missing variable from an invalid one
  if (result.success) return result.data
  throw toConfigError(result.error.issues)
}

function addChatModels<T extends ModelConfig>(config: T, environment: NodeJS.ProcessEnv): T & WithChatModels {
  return { ...config, chatModels: readChatModels(config, dropBlank(environment)) }
}

/** Removes empty variables. Compose passes `NAME=` for each variable that the user did not set. */
function dropBlank(environment: NodeJS.ProcessEnv): NodeJS.ProcessEnv {
  return Object.fromEntries(Object.entries(environment).filter(([, value]) => value?.trim() !== ''))
}
