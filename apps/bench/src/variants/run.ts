import cluster from 'node:cluster'

export type Environment = ReturnType<typeof readEnvironment>

/**
 * Starts a variant in `WEB_CONCURRENCY` processes on one port. Each prints one line with its URL. Exits immediately on
 * SIGTERM, without waiting for streams. `serve` resolves with the URL once it listens.
 */
export async function run(serve: (environment: Environment) => Promise<string>): Promise<void> {
  process.on('SIGTERM', () => process.exit())
  const environment = readEnvironment()
  if (cluster.isPrimary && environment.processes > 1) {
    for (let started = 0; started < environment.processes; started += 1) cluster.fork()
    return
  }
  const url = await serve(environment)
  console.log(JSON.stringify({ msg: 'listening', url }))
}

/** Returns the part of the API's environment that a variant needs. Throws if a variable is missing. */
function readEnvironment() {
  const {
    PORT = '3000',
    HOST = '127.0.0.1',
    DATABASE_POOL_SIZE = '10',
    WEB_CONCURRENCY = '1',
    RETRIEVAL = 'always',
  } = process.env
  return {
    port: Number(PORT),
    host: HOST,
    processes: Number(WEB_CONCURRENCY),
    databaseUrl: requireVariable('DATABASE_URL'),
    poolSize: Number(DATABASE_POOL_SIZE),
    modelUrl: requireVariable('OPENAI_BASE_URL'),
    chatModel: requireVariable('CHAT_MODEL'),
    embeddingModel: requireVariable('EMBEDDING_MODEL'),
    isSearchTool: RETRIEVAL === 'tool',
  }
}

function requireVariable(name: string): string {
  const value = process.env[name]
  if (value) return value
  throw new Error(`${name} is not set. Set it, because benchmark variants have no default for it.`)
}
