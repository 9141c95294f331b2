import { randomBytes } from 'node:crypto'
import postgres from 'postgres'
import { applySettings, migrate } from './migrate.ts'

export type TestDatabase = { databaseUrl: string; directDatabaseUrl: string; drop: () => Promise<void> }

/** The vector width of all test embedders, including real ones. It matches the offline embedder. */
const template = { embedder: { model: 'offline-384', dimensions: 384 } }

/** Creates the migrated database that `createTestDatabase` copies. Returns a function that drops it. */
export async function createTemplateDatabase(): Promise<() => Promise<void>> {
  const name = `template_${randomBytes(6).toString('hex')}`
  await onServer((sql) => sql`create database ${sql(name)}`)
  await migrate({ directUrl: withDatabase(requireUrl('DIRECT_DATABASE_URL'), name), ...template })
  process.env.TEMPLATE_DATABASE = name
  return () => dropDatabase(name)
}

/**
 * Creates a copy of the migrated template in about 70 ms. The URLs connect through PgBouncer and directly to Postgres.
 */
export async function createTestDatabase(): Promise<TestDatabase> {
  const name = `test_${randomBytes(6).toString('hex')}`
  const source = requireUrl('TEMPLATE_DATABASE')
  await onServer((sql) => sql`create database ${sql(name)} template ${sql(source)}`)
  await applySettings(withDatabase(requireUrl('DIRECT_DATABASE_URL'), name))
  return {
    databaseUrl: withDatabase(requireUrl('DATABASE_URL'), name),
    directDatabaseUrl: withDatabase(requireUrl('DIRECT_DATABASE_URL'), name),
    drop: () => dropDatabase(name),
  }
}

/**
 * Closes all connections to a database and drops it. `with (force)` is refused while autovacuum runs there ("permission
 * denied to terminate process"); without it, Postgres stops its own workers. Clients that reconnect in between are
 * disconnected again.
 */
export async function dropDatabase(name: string) {
  await onServer(async (sql) => {
    const drop = async (triesLeft: number): Promise<void> => {
      await sql`select pg_terminate_backend(pid, 5000) from pg_stat_activity
        where datname = ${name} and usename = current_user and pid <> pg_backend_pid()`
      await sql`drop database if exists ${sql(name)}`.catch((error) => {
        if (error.code !== '55006' || triesLeft === 0) throw error // object_in_use, after Postgres has waited 5 s
        return drop(triesLeft - 1)
      })
    }
    await drop(3)
  })
}

async function onServer(work: (sql: postgres.Sql) => Promise<unknown>) {
  const sql = postgres(requireUrl('DIRECT_DATABASE_URL'), { max: 1, fetch_types: false, onnotice: () => {} })
  try {
    await work(sql)
  } finally {
    await sql.end()
  }
}

/** Returns the URL of another database of the same server. */
export function withDatabase(url: string, name: string): string {
  const copy = new URL(url)
  copy.pathname = `/${name}`
  return copy.href
}

function requireUrl(name: string): string {
  const value = process.env[name]
  if (value) return value
  throw new Error(`${name} is not set: run the tests with \`npm test\`, which starts Postgres and PgBouncer for them.`)
}

/** Samples the connections of one database in PgBouncer and Postgres on each call of `sample`. */
export function watchConnections(databaseUrl: string) {
  const database = new URL(databaseUrl).pathname.slice(1)
  // PgBouncer's console supports only the simple protocol.
  const pooler = postgres(requireUrl('PGBOUNCER_ADMIN_URL'), { max: 1, fetch_types: false, prepare: false })
  const direct = postgres(requireUrl('DIRECT_DATABASE_URL'), { max: 1, fetch_types: false })

  return {
    sample: async () => {
      const pools = await pooler.unsafe('show pools').simple()
      const pool = pools.find((row) => row.database === database)
      const [backends] = await direct<{ total: number; idleInTransaction: number }[]>`
        select count(*)::int as total,
          count(*) filter (where state like 'idle in transaction%')::int as "idleInTransaction"
        from pg_stat_activity where backend_type = 'client backend' and datname = ${database}`
      return { active: Number(pool?.sv_active), waiting: Number(pool?.cl_waiting), ...backends }
    },
    close: () => Promise.all([pooler.end(), direct.end()]),
  }
}
