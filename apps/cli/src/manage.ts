import { parseArgs } from 'node:util'
import { readDoctorConfig, readManageConfig, readPriceList } from '@repo/config'
import type { Db } from '@repo/db'
import type { Embedder } from '@repo/llm'
import { createModels } from '@repo/models'
import { type Arguments, assertOptions, type Command, options } from './arguments.ts'
import { runCommand } from './command.ts'
import { checks } from './doctor/checks.ts'
import { examine } from './doctor/examine.ts'
import { exportFeedback } from './export-feedback.ts'
import { inDatabase, withDatabase } from './in-database.ts'
import { ingestFiles, ingestPoolSize } from './ingest-files.ts'
import { keyCommands } from './keys.ts'
import { ownerCommands } from './owners.ts'
import { printUsage } from './print-usage.ts'
import { reindexDocuments } from './reindex.ts'

const commands: Command[] = [
  {
    name: 'doctor',
    args: '',
    what: 'diagnose the setup and suggest fixes',
    run: diagnose,
  },
  ...keyCommands,
  ...ownerCommands,
  {
    name: 'ingest',
    args: 'PATH…',
    options: ['owner'],
    what: 'add files and folders as documents; a changed file replaces its older version',
    run: ingest,
  },
  {
    name: 'reindex',
    args: '',
    options: ['keep'],
    what: 'embed all documents with the current model, then delete the vectors of other models (--keep: keep them)',
    run: reindex,
  },
  {
    name: 'feedback',
    args: '',
    options: ['owner', 'since'],
    what: 'print rated answers as JSON lines (--owner NAME: only of this owner, --since DATE: only rated since then)',
    run: inDatabase(printFeedback),
  },
  {
    name: 'usage',
    args: '',
    options: ['owner', 'from', 'to', 'csv'],
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
  if (!command) return showUsage()
  assertOptions(command, Object.keys(values))
  const code = hasOperands(command, operands.length) ? await command.run({ ...values, operands }) : undefined
  return code ?? showUsage()
})

function hasOperands({ args }: Command, count: number): boolean {
  return args === 'PATH…' ? count > 0 : count === (['ID', 'NAME'].includes(args) ? 1 : 0)
}

async function diagnose(): Promise<number> {
  let code = 0
  for await (const { level, line } of examine(checks, readDoctorConfig())) {
    console.log(line)
    if (level === 'FAIL') code = 1
  }
  return code
}

async function ingest({ owner = 'local', operands: paths }: Arguments): Promise<number | undefined> {
  if (typeof owner !== 'string') return undefined
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

async function printFeedback(db: Db, { owner, since }: Arguments): Promise<number | undefined> {
  if (typeof owner === 'boolean' || typeof since === 'boolean') return undefined
  await exportFeedback({ db, owner, since, output: process.stdout })
  return 0
}

async function reportUsage(db: Db, { owner, from, to, csv }: Arguments): Promise<number | undefined> {
  if (typeof owner === 'boolean' || typeof from === 'boolean' || typeof to === 'boolean') return undefined
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

function showUsage(): number {
  for (const { name, args, what } of commands)
    console.error(`npm run manage -- ${`${name} ${args}`.padEnd(24)} ${what}`)
  return 2
}
