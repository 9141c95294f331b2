import postgres from 'postgres'

export type Connections = {
  /** Connections to Postgres. `busy` ones run a query or are in a transaction. */
  backends: number
  busy: number
  idleInTransaction: number
  /** Connections whose state this user may not see. They count as backends only. */
  hidden: number
  /** Connections to PgBouncer. `waiting` ones wait for a Postgres connection. 0 without its console. */
  clients: number
  waiting: number
}

type Urls = { directDatabaseUrl: string; pgbouncerAdminUrl?: string | undefined }

/** Counts the connections to one database in Postgres and PgBouncer, except its own. */
export function watchConnections({ directDatabaseUrl, pgbouncerAdminUrl }: Urls) {
  const database = new URL(directDatabaseUrl).pathname.slice(1)
  const direct = postgres(directDatabaseUrl, { max: 1, fetch_types: false, max_lifetime: null })
  // PgBouncer's console supports only the simple query protocol.
  const settings = { max: 1, fetch_types: false, prepare: false, max_lifetime: null }
  const pooler = pgbouncerAdminUrl === undefined ? undefined : postgres(pgbouncerAdminUrl, settings)

  return {
    count: async (): Promise<Connections> => {
      const [rows, pools] = await Promise.all([
        direct<Omit<Connections, 'clients' | 'waiting'>[]>`
          select count(*)::int as backends, count(*) filter (where state <> 'idle')::int as busy,
            count(*) filter (where state like 'idle in transaction%')::int as "idleInTransaction",
            count(*) filter (where backend_type is null)::int as hidden
          from pg_stat_activity
          where (backend_type = 'client backend' or (backend_type is null and usename is not null)) and datname = ${database} and pid <> pg_backend_pid()`,
        pooler?.unsafe('show pools').simple(),
      ])
      const { backends = 0, busy = 0, idleInTransaction = 0, hidden = 0 } = rows[0] ?? {}
      const pool = pools?.find((row) => row.database === database)
      const [active, waiting] = [Number(pool?.cl_active ?? 0), Number(pool?.cl_waiting ?? 0)]
      return { backends, busy, idleInTransaction, hidden, clients: active + waiting, waiting }
    },
    close: async (): Promise<void> => {
      await Promise.all([direct.end(), pooler?.end()])
    },
  }
}
