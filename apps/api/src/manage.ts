import { parseArgs } from 'node:util'
import { connect, createStore, type Db } from '@repo/db'
import { runCommand } from './command.ts'
import { readDoctorConfig, readManageConfig } from './config.ts'
import { checks } from './doctor/checks.ts'
import { examine } from './doctor/examine.ts'
import { createModels } from './models.ts'
import { createKey } from './plugins/auth.ts'
import { reindexDocuments } from './reindex.ts'

const options = { owner: { type: 'string' } } as const
type Values = { owner?: string | boolean }

/** Each gives the exit code. */
const commands = [
  {
    name: 'doctor',
    args: '',
    what: 'says what is wrong with the setup, and how to mend it',
    run: diagnose,
  },
  {
    name: 'create-key',
    args: '--owner NAME',
    what: 'makes an API key for NAME and prints it, once',
    run: printNewKey,
  },
  {
    name: 'reindex',
    args: '',
    what: 'embeds the documents of another embedder anew, after EMBEDDING_MODEL was changed',
    run: reindex,
  },
]

/** `npm run manage -- COMMAND`: what an operator does by hand. */
await runCommand('The command failed', async () => {
  const { positionals, values } = parseArgs({ allowPositionals: true, strict: false, options })
  const command = commands.find(({ name }) => name === positionals.join(' '))
  return command ? command.run(values) : showUsage()
})

async function diagnose(): Promise<number> {
  let code = 0
  for await (const { level, line } of examine(checks, readDoctorConfig())) {
    console.log(line)
    if (level === 'FAIL') code = 1
  }
  return code
}

async function printNewKey({ owner }: Values): Promise<number> {
  if (typeof owner !== 'string' || owner.trim() === '') return showUsage()
  return withDatabase(readManageConfig().DATABASE_URL, async (db) => {
    console.log(await createKey(createStore(db), owner))
    return 0
  })
}

async function reindex(): Promise<number> {
  const config = readManageConfig()
  const llm = createModels(config)
  try {
    return await withDatabase(config.DATABASE_URL, async (db) => {
      const failed = await reindexDocuments({ db, embedder: llm.embedder, report: console.log })
      return failed > 0 ? 1 : 0
    })
  } finally {
    llm.close()
  }
}

async function withDatabase(url: string, work: (db: Db) => Promise<number>): Promise<number> {
  const database = connect({ url, poolSize: 1, applicationName: 'sluice-manage' })
  try {
    return await work(database.db)
  } finally {
    await database.close()
  }
}

function showUsage(): number {
  for (const { name, args, what } of commands)
    console.error(`npm run manage -- ${`${name} ${args}`.padEnd(24)} ${what}`)
  return 2
}
