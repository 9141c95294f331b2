import postgres from 'postgres'
import type { Load } from './plan.ts'
import type { Tally } from './tally.ts'

// Of nobody, by an index: what other scenarios have stored shall not matter.
const query = `select count(*) from messages where owner_id = '00000000-0000-0000-0000-000000000000'`

/** What a load does on a database: each client has a connection of its own, and `ask` runs one query on it. */
export function createQueries({ url }: Load, tally: Tally) {
  const connections: postgres.Sql[] = []

  const createSession = () => {
    const sql = postgres(url, { max: 1, fetch_types: false, max_lifetime: null, connect_timeout: 30 })
    connections.push(sql)
    return async (intendedAt: number): Promise<boolean> => {
      try {
        // One message: this process is busy with logins, and shall not keep a connection of Postgres waiting for a second.
        await sql.unsafe(query).simple()
        tally.firstToken.record(performance.now() - intendedAt)
        tally.counts.completed += 1
        return true
      } catch (error) {
        tally.fail(error instanceof Error && 'code' in error ? String(error.code) : 'unknown')
        return false
      }
    }
  }
  const close = () => {
    for (const sql of connections) void sql.end({ timeout: 1 })
  }
  return { createSession, close }
}
