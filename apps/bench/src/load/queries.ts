import postgres from 'postgres'
import type { Load } from './plan.ts'
import type { Tally } from './tally.ts'

// An indexed lookup of an unknown owner, so that data of other scenarios does not matter.
const query = `select count(*) from messages where owner_id = '00000000-0000-0000-0000-000000000000'`

/** Creates database clients: each session has its own connection, and runs one query per call. */
export function createQueries({ url }: Load, tally: Tally) {
  const connections: postgres.Sql[] = []

  const createSession = () => {
    const sql = postgres(url, { max: 1, fetch_types: false, max_lifetime: null, connect_timeout: 30 })
    connections.push(sql)
    return async (intendedAt: number): Promise<boolean> => {
      try {
        // The simple protocol needs one message. This process is busy with logins, and a second one would arrive late.
        await sql.unsafe(query).simple()
        tally.response.record(performance.now() - intendedAt)
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
