import { readManageConfig } from '@repo/config'
import { connect, type Db } from '@repo/db'
import type { Arguments, Command } from './arguments.ts'

/** Returns a command that needs the database and no model. */
export function inDatabase(work: (db: Db, given: Arguments) => Promise<number | undefined>): Command['run'] {
  return (given) => withDatabase(readManageConfig().DATABASE_URL, (db) => work(db, given))
}

/** Connects, does some work, and disconnects. */
export async function withDatabase<Result>(
  url: string,
  work: (db: Db) => Promise<Result>,
  poolSize = 1,
): Promise<Result> {
  const database = connect({ url, poolSize, applicationName: 'sluice-manage' })
  try {
    return await work(database.db)
  } finally {
    await database.close()
  }
}
