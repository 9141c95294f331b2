import { type Db, sql } from '@repo/db'

// Finds the rows of an owner in all tables, including future ones.

/** Returns all tables whose rows have an owner, including future tables. */
export async function listOwnedTables(db: Db): Promise<string[]> {
  const rows = await db.execute<{ name: string }>(sql`
    select table_name as name from information_schema.columns where column_name = 'owner_id' and table_schema = 'public'`)
  return ['owners', ...rows.map(({ name }) => name)]
}

/** Returns an owner's rows, without the columns that processes update by themselves. */
export async function readRows(db: Db, table: string, owner: string): Promise<Record<string, unknown>[]> {
  const column = sql.identifier(table === 'owners' ? 'id' : 'owner_id')
  const rows = await db.execute<{ row: Record<string, unknown> }>(sql`
    select to_jsonb(t) - 'heartbeat_at' - 'last_used_at' as row from ${sql.identifier(table)} t
    where ${column} = ${owner} order by 1`)
  return rows.map(({ row }) => row)
}

/**
 * Inserts a row into a table that no route fills. Throws if a constraint requires more than a value of the right type.
 */
export async function addRow(db: Db, table: string, owner: string, text: string): Promise<void> {
  const columns = await db.execute<{ name: string; type: string }>(sql`
    select column_name as name, udt_name as type from information_schema.columns
    where table_schema = 'public' and table_name = ${table} and is_nullable = 'NO' and column_default is null
      and is_identity = 'NO' and is_generated = 'NEVER'`)
  const values: Record<string, unknown> = {
    text,
    varchar: text,
    uuid: '00000000-0000-4000-8000-000000000000',
    bool: true,
    jsonb: '{}',
    date: '2026-01-01',
    timestamptz: '2026-01-01T00:00:00Z',
  }
  const row = columns.map(({ name, type }) => [name, name === 'owner_id' ? owner : (values[type] ?? 1)] as const)
  const names = sql.join(
    row.map(([name]) => sql.identifier(name)),
    sql`, `,
  )
  await db.execute(sql`
    insert into ${sql.identifier(table)} (${names})
    select ${names} from jsonb_populate_record(null::${sql.identifier(table)}, ${JSON.stringify(Object.fromEntries(row))}::jsonb)`)
}
