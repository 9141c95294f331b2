import { parseArgs } from 'node:util'
import { readDoctorConfig, readManageConfig, readPriceList } from '@repo/config'
import { connect, createKey, createKeyring, createStore, type Db } from '@repo/db'
import type { Embedder } from '@repo/llm'
import { createModels } from '@repo/models'
import { runCommand } from './command.ts'
import { checks } from './doctor/checks.ts'
import { examine } from './doctor/examine.ts'
import { exportFeedback } from './export-feedback.ts'
import { ingestFiles, ingestPoolSize } from './ingest-files.ts'
import { changeMembership, deleteOwner, exportOwner, listOwners } from './owners.ts'
import { printUsage } from './print-usage.ts'
import { reindexDocuments } from './reindex.ts'

const options = {
  owner: { type: 'string' },
  organization: { type: 'string' },
  since: { type: 'string' },
  from: { type: 'string' },
  to: { type: 'string' },
  'tokens-per-day': { type: 'string' },
  keep: { type: 'boolean' },
  librarian: { type: 'boolean' },
  csv: { type: 'boolean' },
  yes: { type: 'boolean' },
} as const
type Arguments = { [Name in keyof typeof options]?: string | boolean } & { operands: string[] }

/** `run` returns the exit code. `args` documents the options and operands that follow the name. */
const commands = [
  {
    name: 'doctor',
    args: '',
    what: 'diagnose the setup and suggest fixes',
    run: diagnose,
  },
  {
    name: 'create-key',
    args: '--owner NAME',
    what: 'create an API key for NAME and print it (--organization NAME: make NAME a member, --librarian: may share documents, --tokens-per-day N: limit its use)',
    run: inDatabase(printNewKey),
  },
  {
    name: 'list-keys',
    args: '',
    what: 'list all keys with their ID, owner, last use and budget',
    run: inDatabase(listKeys),
  },
  {
    name: 'revoke-key',
    args: 'ID',
    what: 'revoke a key for good; the ID is part of the key: sl_ID_…',
    run: inDatabase(revokeKey),
  },
  {
    name: 'list-owners',
    args: '',
    what: 'list all owners and organizations with what they have',
    run: inDatabase(printOwners),
  },
  {
    name: 'join',
    args: '--owner NAME',
    what: 'make NAME a member of --organization NAME, and of no other',
    run: inDatabase(joinOrganization),
  },
  {
    name: 'leave',
    args: '--owner NAME',
    what: 'end the membership of NAME',
    run: inDatabase(leaveOrganization),
  },
  {
    name: 'delete-owner',
    args: 'NAME',
    what: 'delete everything NAME has (--yes: without asking)',
    run: inDatabase(removeOwner),
  },
  {
    name: 'export-owner',
    args: 'NAME',
    what: 'print everything NAME has as JSON lines',
    run: inDatabase(printOwner),
  },
  {
    name: 'ingest',
    args: 'PATH…',
    what: 'add files and folders as documents; a changed file replaces its older version',
    run: ingest,
  },
  {
    name: 'reindex',
    args: '',
    what: 'embed all documents with the current model, then delete the vectors of other models (--keep: keep them)',
    run: reindex,
  },
  {
    name: 'feedback',
    args: '',
    what: 'print rated answers as JSON lines (--owner NAME: only of this owner, --since DATE: only rated since then)',
    run: inDatabase(printFeedback),
  },
  {
    name: 'usage',
    args: '',
    what: 'print what models were used for in the last 30 days (--owner NAME, --from DATE, --to DATE, --csv)',
    run: inDatabase(reportUsage),
  },
]

let isBarOpen = false

/** `npm run manage -- COMMAND`: the operator's commands. */
await runCommand('Command failed', async () => {
  const { positionals, values } = parseArgs({ allowPositionals: true, strict: false, options })
  const [name, ...operands] = positionals
  const command = commands.find((command) => command.name === name)
  const isComplete =
    { ID: operands.length === 1, NAME: operands.length === 1, 'PATH…': operands.length > 0 }[command?.args ?? ''] ??
    operands.length === 0
  return command && isComplete ? command.run({ ...values, operands }) : showUsage()
})

async function diagnose(): Promise<number> {
  let code = 0
  for await (const { level, line } of examine(checks, readDoctorConfig())) {
    console.log(line)
    if (level === 'FAIL') code = 1
  }
  return code
}

async function printNewKey(db: Db, { owner, organization, librarian, ...limits }: Arguments): Promise<number> {
  if (!isName(owner) || !(organization === undefined || isName(organization))) return showUsage()
  const tokensPerDay = Number(limits['tokens-per-day'] ?? 0)
  const isValid = Number.isSafeInteger(tokensPerDay) && tokensPerDay >= 0
  if (!isValid || typeof limits['tokens-per-day'] === 'boolean') return showUsage()
  const isLibrarian = librarian === true
  console.log(await createKey(createStore(db), owner, { organization, isLibrarian, tokensPerDay }))
  return 0
}

async function listKeys(db: Db): Promise<number> {
  const toLine = (id: string, ...times: string[]) => [id.padEnd(16), ...times.map((time) => time.padEnd(20))].join('  ')
  console.log(`${toLine('id', 'created', 'last used', 'revoked')}  owner`)
  for (const { id, owner, createdAt, lastUsedAt, revokedAt, tokensPerDay } of await createKeyring(db).list()) {
    const budget = tokensPerDay === null ? '' : `  (${tokensPerDay} tokens per day)`
    console.log(`${toLine(id, toTime(createdAt), toTime(lastUsedAt), toTime(revokedAt))}  ${owner}${budget}`)
  }
  return 0
}

async function revokeKey(db: Db, { operands: [id = ''] }: Arguments): Promise<number> {
  const key = await createKeyring(db).revoke(id)
  if (key) console.log(`Key ${id} (owner ${key.owner}) was revoked at ${toTime(key.revokedAt)}.`)
  else console.error(`No key has the ID ${id}. \`npm run manage -- list-keys\` lists all keys.`)
  return key ? 0 : 1
}

async function printOwners(db: Db): Promise<number> {
  console.log(await listOwners(db))
  return 0
}

async function joinOrganization(db: Db, { owner, organization }: Arguments): Promise<number> {
  if (!isName(owner) || !isName(organization)) return showUsage()
  console.log(await changeMembership(db, owner, organization))
  return 0
}

async function leaveOrganization(db: Db, { owner }: Arguments): Promise<number> {
  if (!isName(owner)) return showUsage()
  console.log(await changeMembership(db, owner))
  return 0
}

async function removeOwner(db: Db, { operands: [name = ''], yes }: Arguments): Promise<number> {
  const done = await deleteOwner(db, name, yes === true)
  if (done) console.log(done)
  else console.error('Nothing was deleted.')
  return done ? 0 : 1
}

async function printOwner(db: Db, { operands: [name = ''] }: Arguments): Promise<number> {
  await exportOwner(db, name, process.stdout)
  return 0
}

function isName(value: string | boolean | undefined): value is string {
  return typeof value === 'string' && value.trim() !== ''
}

/** Formats a time to the second, in UTC. */
function toTime(time: Date | null): string {
  return time ? time.toISOString().replace(/\.\d+/, '') : '-'
}

async function ingest({ owner = 'local', operands: paths }: Arguments): Promise<number> {
  if (typeof owner !== 'string') return showUsage()
  const { DIRECT_DATABASE_URL: directUrl, MAX_UPLOAD_MB: maxMb, EXTRACTOR_URL } = readManageConfig()
  const limits = { maxBytes: maxMb * 1024 * 1024, hasExtractor: EXTRACTOR_URL !== undefined }
  return withModels(async (db, embedder) => {
    const failed = await ingestFiles({ db, embedder, owner, paths, directUrl, ...limits, report })
    return failed > 0 ? 1 : 0
  })
}

async function reindex({ keep }: Arguments): Promise<number> {
  const { SEARCH_LANGUAGE: language } = readManageConfig()
  return withModels(async (db, embedder) => {
    const failed = await reindexDocuments({ db, embedder, keepOthers: keep === true, language, report })
    return failed > 0 ? 1 : 0
  })
}

async function printFeedback(db: Db, { owner, since }: Arguments): Promise<number> {
  if (typeof owner === 'boolean' || typeof since === 'boolean') return showUsage()
  await exportFeedback({ db, owner, since, output: process.stdout })
  return 0
}

async function reportUsage(db: Db, { owner, from, to, csv }: Arguments): Promise<number> {
  if (typeof owner === 'boolean' || typeof from === 'boolean' || typeof to === 'boolean') return showUsage()
  await printUsage({ db, prices: readPriceList(), owner, from, to, csv: csv === true, print: console.log })
  return 0
}

/** Prints a line. In a terminal, a line of progress becomes a bar that replaces the previous one. */
function report(line: string) {
  const [, done, total] = line.match(/^(\d+) of (\d+) /) ?? []
  if (!process.stdout.isTTY || !total) {
    console.log(isBarOpen ? `\n${line}` : line)
    isBarOpen = false
    return
  }
  const width = Math.round((40 * Number(done)) / Number(total))
  isBarOpen = done !== total
  process.stdout.write(`\r[${'#'.repeat(width).padEnd(40)}] ${line}\x1b[K${isBarOpen ? '' : '\n'}`)
}

async function withModels(work: (db: Db, embedder: Embedder) => Promise<number>): Promise<number> {
  const config = readManageConfig()
  const llm = createModels(config)
  try {
    return await withDatabase(config.DATABASE_URL, (db) => work(db, llm.embedder), ingestPoolSize)
  } finally {
    llm.close()
  }
}

/** Returns a command that needs the database and no model. */
function inDatabase(work: (db: Db, given: Arguments) => Promise<number>) {
  return (given: Arguments) => withDatabase(readManageConfig().DATABASE_URL, (db) => work(db, given))
}

async function withDatabase(url: string, work: (db: Db) => Promise<number>, poolSize = 1): Promise<number> {
  const database = connect({ url, poolSize, applicationName: 'sluice-manage' })
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
