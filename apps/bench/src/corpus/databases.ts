import { withDatabase } from '@repo/db/testing'
import postgres, { type Sql } from 'postgres'
import { fillDatabase } from './fill.ts'

type Urls = { databaseUrl: string; directDatabaseUrl: string }

/**
 * Returns a function that opens a database with a corpus of that many chunks, which it fills the first time. No
 * conversations are in it.
 */
export function createDatabases(stack: Urls, report: (line: string) => void, signal: AbortSignal) {
  const filled = new Map<number, Urls>()

  const create = async (chunks: number): Promise<Urls> => {
    report(`filling a database with ${chunks.toLocaleString('en')} chunks`)
    const name = `corpus_${chunks}`
    await runDirectly(stack, (sql) => sql`create database ${sql(name)}`)
    const urls = {
      databaseUrl: withDatabase(stack.databaseUrl, name),
      directDatabaseUrl: withDatabase(stack.directDatabaseUrl, name),
    }
    const startedAt = performance.now()
    await fillDatabase(urls, chunks, signal)
    await runDirectly(urls, (sql) => sql`vacuum analyze`)
    report(`filled it in ${((performance.now() - startedAt) / 1000).toFixed(0)} s`)
    filled.set(chunks, urls)
    return urls
  }

  return async (chunks: number): Promise<Urls> => {
    const urls = filled.get(chunks) ?? (await create(chunks))
    await runDirectly(urls, removeConversations)
    return urls
  }
}

/** Removes what chats and the scenario `stalls` have written. */
async function removeConversations(sql: Sql) {
  await sql`truncate conversations cascade`
  await sql`delete from documents where status <> 'ready'`
}

async function runDirectly({ directDatabaseUrl }: Urls, work: (sql: Sql) => Promise<unknown>): Promise<void> {
  const sql = postgres(directDatabaseUrl, {
    max: 1,
    fetch_types: false,
    onnotice: () => {},
    connection: { statement_timeout: 600_000 }, // analyzing 100,000 chunks takes longer than the database's 10 s
  })
  try {
    await work(sql)
  } finally {
    await sql.end()
  }
}
