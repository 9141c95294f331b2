import { z } from 'zod'

const optional = z
  .string()
  .optional()
  .transform((value) => value || undefined)
const integer = (min: number, max: number) => z.coerce.number().int().min(min).max(max)
const postgresUrl = z.url({
  protocol: /^postgres(ql)?$/,
  error: 'should be a URL like postgres://user:password@host:6432/database',
})
const httpUrl = z.url({ protocol: /^https?$/, error: 'should be a URL like https://api.openai.com/v1' })
/** Compared letter by letter with what tokens say. Over plain HTTP anybody on the way could hand out keys of their own. */
const issuerError = 'should be a URL like https://login.example without ? and #; http is for this machine alone'
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
  .refine((origins) => origins.every(isOrigin), 'should be origins like https://chat.example, separated by commas')

/** As a browser sends it: no path, no closing slash. */
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
  EMBEDDING_DIMENSIONS: integer(1, 16_000).optional(), // the widest halfvec that pgvector stores
  MODEL_FIRST_BYTE_TIMEOUT_MS: integer(1, 3_600_000).default(120_000), // reasoning models think for a minute or two
  MODEL_IDLE_TIMEOUT_MS: integer(1, 3_600_000).default(60_000), // between two tokens, far less is normal
}

/** The exporter and the SDK read these, and other `OTEL_` variables, themselves: here they are checked. */
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
    .regex(/^(0(\.\d+)?|1(\.0+)?)$/, 'should be a number from 0 to 1')
    .optional(),
}

/** The worker holds a PDF or Word file in memory while it reads it, and has 1 GB for that. */
const maxUploadMb = integer(1, 500).default(50) // a PDF of 1,000 pages with pictures

const logLevel = z.enum(['fatal', 'error', 'warn', 'info', 'debug', 'trace', 'silent']).default('info')

const ApiEnvironment = z
  .object({
    ...models,
    ...tracing,
    NODE_ENV: optional,
    DATABASE_URL: postgresUrl,
    DATABASE_POOL_SIZE: integer(1, 10_000).default(10), // a chat needs about 10 ms of a connection in all
    PGBOUNCER_ADMIN_URL: postgresUrl.optional(),
    PORT: integer(0, 65_535).default(3000),
    HOST: z.string().default('127.0.0.1'),
    LOG_LEVEL: logLevel,
    WEB_CONCURRENCY: integer(1, 1024).default(1),
    MAX_STREAMS: integer(1, 1_000_000).default(2000), // about 50 kB each, and near what one core can stream
    OWNER_REQUESTS_PER_MINUTE: integer(1, 1_000_000).optional(),
    OWNER_STREAMS: integer(1, 1_000_000).optional(),
    MAX_UPLOAD_MB: maxUploadMb,
    DRAIN_TIMEOUT_MS: integer(0, 3_600_000).default(30_000), // most answers end within half a minute
    SYSTEM_PROMPT: optional,
    AUTH: z.enum(['required', 'off']).default('required'),
    JWT_ISSUER: issuerUrl.optional(),
    JWT_AUDIENCE: optional,
    CORS_ORIGINS: list,
    TRUST_PROXY: z.stringbool({ truthy: ['true'], falsy: ['false'] }).default(false),
  })
  .refine((env) => !(env.AUTH === 'off' && env.NODE_ENV === 'production'), {
    path: ['AUTH'],
    error: 'cannot be off under NODE_ENV=production: set AUTH=required',
  })
  .refine((env) => env.JWT_AUDIENCE === undefined || env.JWT_ISSUER !== undefined, {
    path: ['JWT_ISSUER'],
    error: 'is needed beside JWT_AUDIENCE: the URL of who signs the tokens',
  })
  .refine((env) => env.JWT_ISSUER === undefined || env.JWT_AUDIENCE !== undefined, {
    path: ['JWT_AUDIENCE'],
    error: 'is needed beside JWT_ISSUER: the `aud` of its tokens for this API',
  })
  .superRefine(checkKeys)

const WorkerEnvironment = z
  .object({
    ...models,
    ...tracing,
    DATABASE_URL: postgresUrl,
    WORKER_CONCURRENCY: integer(1, 100).default(2), // a vendor answers while the other document is read
    LOG_LEVEL: logLevel,
  })
  .superRefine(checkKeys)

const MigrationEnvironment = z.object({ ...models, DIRECT_DATABASE_URL: postgresUrl }).superRefine(checkKeys)

const ManageEnvironment = z
  .object({
    ...models,
    DATABASE_URL: postgresUrl,
    DIRECT_DATABASE_URL: postgresUrl.optional(),
    MAX_UPLOAD_MB: maxUploadMb,
  })
  .superRefine(checkKeys)

const DoctorEnvironment = ApiEnvironment.safeExtend({
  DIRECT_DATABASE_URL: postgresUrl.optional(),
})

export type Config = z.output<typeof ApiEnvironment>
export type WorkerConfig = z.output<typeof WorkerEnvironment>
export type MigrationConfig = z.output<typeof MigrationEnvironment>
export type DoctorConfig = ReturnType<typeof readDoctorConfig>
export type ModelConfig = z.output<z.ZodObject<typeof models>>
export type TracingConfig = z.output<z.ZodObject<typeof tracing>>

/** The server of `EMBEDDING_MODEL`. A key is sent to its own server alone, never to the other one. */
export function findEmbeddingServer(env: ModelConfig) {
  return env.EMBEDDING_BASE_URL
    ? { baseUrl: env.EMBEDDING_BASE_URL, apiKey: env.EMBEDDING_API_KEY }
    : { baseUrl: env.OPENAI_BASE_URL, apiKey: env.EMBEDDING_API_KEY ?? env.OPENAI_API_KEY }
}

/** OpenAI's own API without a key would answer 401 to the first question; say it at start. Local servers need none. */
function checkKeys(env: ModelConfig, { addIssue }: z.RefinementCtx) {
  const embedding = findEmbeddingServer(env)
  const keyless = new Set<'OPENAI' | 'EMBEDDING'>()
  if (env.CHAT_MODEL && lacksKey(env.OPENAI_BASE_URL, env.OPENAI_API_KEY)) keyless.add('OPENAI')
  if (env.EMBEDDING_MODEL && lacksKey(embedding.baseUrl, embedding.apiKey))
    keyless.add(env.EMBEDDING_BASE_URL ? 'EMBEDDING' : 'OPENAI')
  for (const server of keyless) {
    const message = `is needed for api.openai.com; or set ${server}_BASE_URL to another server`
    addIssue({ code: 'custom', path: [`${server}_API_KEY`], message })
  }
}

function lacksKey(baseUrl: string, apiKey: string | undefined): boolean {
  return apiKey === undefined && new URL(baseUrl).hostname === 'api.openai.com'
}

/** The environment does not fit. `message` is one line for each variable: its name and what it should be. */
export class ConfigError extends Error {
  code = 'invalid_environment' as const

  constructor(issues: z.core.$ZodIssue[]) {
    super(issues.map((issue) => `${issue.path.join('.')} ${describeIssue(issue)}`).join('\n'))
    this.name = 'ConfigError'
  }
}

/** Reads the API's settings. Throws `ConfigError`. */
export function readConfig(environment: NodeJS.ProcessEnv = process.env): Config {
  return parse(ApiEnvironment, environment)
}

/** Reads the settings of `npm run worker`. Throws `ConfigError`. */
export function readWorkerConfig(environment: NodeJS.ProcessEnv = process.env): WorkerConfig {
  return parse(WorkerEnvironment, environment)
}

/** Reads the settings of `npm run db:migrate`. Throws `ConfigError`. */
export function readMigrationConfig(environment: NodeJS.ProcessEnv = process.env): MigrationConfig {
  return parse(MigrationEnvironment, environment)
}

/** Reads the settings of `npm run manage`: those of a running `npm start` when none are set. Throws `ConfigError`. */
export function readManageConfig(environment: NodeJS.ProcessEnv = process.env): z.output<typeof ManageEnvironment> {
  return parse(ManageEnvironment, environment)
}

/** Reads what `npm run manage -- doctor` looks at. Throws nothing: what does not fit is left out, and in `problems`. */
export function readDoctorConfig(environment: NodeJS.ProcessEnv = process.env) {
  const given = dropBlank(environment)
  const { error } = DoctorEnvironment.safeParse(given, { reportInput: true })
  const { PORT, HOST } = DoctorEnvironment.shape
  return {
    /** One line for each variable that does not fit: its name and what it should be. */
    problems: error ? new ConfigError(error.issues).message.split('\n') : [],
    databaseUrl: postgresUrl.safeParse(given.DATABASE_URL).data,
    directUrl: postgresUrl.safeParse(given.DIRECT_DATABASE_URL).data,
    adminUrl: postgresUrl.safeParse(given.PGBOUNCER_ADMIN_URL).data,
    port: PORT.safeParse(given.PORT).data,
    host: HOST.safeParse(given.HOST).data,
    models: z.object(models).superRefine(checkKeys).safeParse(given).data,
  }
}

function parse<Shape extends z.ZodType>(shape: Shape, environment: NodeJS.ProcessEnv): z.output<Shape> {
  const result = shape.safeParse(dropBlank(environment), { reportInput: true }) // else an issue does not say whether there was one
  if (result.success) return result.data
  throw new ConfigError(result.error.issues)
}

/** An empty variable counts as unset: Compose passes `NAME=` for each one that the user did not set. */
function dropBlank(environment: NodeJS.ProcessEnv): NodeJS.ProcessEnv {
  return Object.fromEntries(Object.entries(environment).filter(([, value]) => value?.trim() !== ''))
}

function describeIssue(issue: z.core.$ZodIssue): string {
  if (issue.code === 'invalid_type' && issue.input === undefined) return `is not set: it ${issue.message}`
  if (issue.code === 'invalid_value') return `should be ${issue.values.join(' or ')}`
  if (issue.code === 'too_small') return `should be at least ${issue.minimum}`
  if (issue.code === 'too_big') return `should be at most ${issue.maximum}`
  if (issue.code === 'invalid_type') return `should be a whole ${issue.expected === 'int' ? 'number' : issue.expected}`
  return issue.message
}
