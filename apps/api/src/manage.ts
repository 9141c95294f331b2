import { parseArgs } from 'node:util'
import { connect, createStore } from '@repo/db'
import { runCommand } from './command.ts'
import { readManageConfig } from './config.ts'
import { createKey } from './plugins/auth.ts'

const usage = 'npm run manage -- create-key --owner NAME   makes an API key for NAME and prints it, once'

/** `npm run manage -- COMMAND`: what an operator does by hand. */
await runCommand('The command failed', async () => {
  const options = { owner: { type: 'string' } } as const
  const { positionals, values } = parseArgs({ allowPositionals: true, strict: false, options })
  const { owner } = values
  if (positionals.join() !== 'create-key' || typeof owner !== 'string' || owner.trim() === '') {
    console.error(usage)
    return 2
  }
  const { DATABASE_URL: url } = readManageConfig()
  const database = connect({ url, poolSize: 1, applicationName: 'sluice-manage' })
  try {
    console.log(await createKey(createStore(database.db), owner))
    return 0
  } finally {
    await database.close()
  }
})
