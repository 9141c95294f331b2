import { parseArgs } from 'node:util'
import { connect, createStore } from '@repo/db'
import { ConfigError, readManageConfig } from './config.ts'
import { createKey } from './plugins/auth.ts'
import { describeError } from './plugins/errors.ts'

const usage = 'npm run manage -- create-key --owner NAME   makes an API key for NAME and prints it, once'

/** `npm run manage -- COMMAND`: what an operator does by hand. Gives the exit code. */
async function manage(args: string[]): Promise<number> {
  const options = { owner: { type: 'string' } } as const
  const { positionals, values } = parseArgs({ args, allowPositionals: true, strict: false, options })
  if (positionals[0] !== 'create-key' || typeof values.owner !== 'string') {
    console.error(usage)
    return 2
  }
  const { DATABASE_URL: url } = readManageConfig()
  const database = connect({ url, poolSize: 1, applicationName: 'sluice-manage' })
  try {
    console.log(await createKey(createStore(database.db), values.owner))
    return 0
  } finally {
    await database.close()
  }
}

try {
  process.exitCode = await manage(process.argv.slice(2))
} catch (error) {
  console.error(
    error instanceof ConfigError ? error.message : `The command failed: ${JSON.stringify(describeError(error))}`,
  )
  process.exitCode = 1
}
