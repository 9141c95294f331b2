import cluster from 'node:cluster'

export type Environment = ReturnType<typeof readEnvironment>

/**
 * Starts a variant in `WEB_CONCURRENCY` processes on one port; each writes one line that says where it listens. Ends at
 * SIGTERM, at once: what streams then is lost. `serve` gives the URL once it listens.
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

/** What a variant needs of the API's environment. Throws when a name is missing. */
function readEnvironment() {
  const { PORT = '3000', HOST = '127.0.0.1', DATABASE_POOL_SIZE = '10', WEB_CONCURRENCY = '1' } = process.env
  return {
    port: Number(PORT),
    host: HOST,
    processes: Number(WEB_CONCURRENCY),
    databaseUrl: need('DATABASE_URL'),
    poolSize: Number(DATABASE_POOL_SIZE),
    modelUrl: need('OPENAI_BASE_URL'),
    chatModel: need('CHAT_MODEL'),
    embeddingModel: need('EMBEDDING_MODEL'),
  }
}

function need(name: string): string {
  const value = process.env[name]
  if (value) return value
  throw new Error(`${name} is not set: a variant of the bench has no default for it.`)
}
