import { asc, count, eq, type SQL, sql } from 'drizzle-orm'
import { alias } from 'drizzle-orm/pg-core'
import type { Db } from './client.ts'
import { apiKeys, conversations, documents, owners } from './schema.ts'

/** Creates queries on owners with everything they have. For the CLI only, so not part of the Store. */
export function createOwnerAdmin(db: Db) {
  const organizations = alias(owners, 'organizations')
  const countOf = (table: typeof documents | typeof conversations | typeof apiKeys) =>
    sql<number>`(${db.select({ count: count() }).from(table).where(eq(table.ownerId, owners.id))})`.mapWith(Number)
  const select = () =>
    db
      .select({
        id: owners.id,
        name: owners.name,
        organization: organizations.name,
        keys: countOf(apiKeys),
        documents: countOf(documents),
        conversations: countOf(conversations),
        createdAt: owners.createdAt,
      })
      .from(owners)
      .leftJoin(organizations, eq(organizations.id, owners.organizationId))
  return {
    /** Returns all owners by name, organizations included. */
    list: () => select().orderBy(asc(owners.name)),

    find: async (name: string) => (await select().where(eq(owners.name, name))).at(0),

    /**
     * Yields everything that an owner has, one stored row at a time with the name of its table. Leaves out secrets, and
     * what is derived or not finished: see `notExported`. Reads page by page, so no connection is held in between.
     */
    export: async function* (owner: string): AsyncGenerator<{ table: string } & Record<string, unknown>> {
      yield* readTable(db, 'owners', { key: ['id'] }, sql`id = ${owner}`)
      for (const [table, options] of Object.entries(exported))
        yield* readTable(db, table, options, sql`owner_id = ${owner}`)
    },
  }
}

type Exported = { key: string[]; without?: string[] }

/** Tables with the columns that order an owner's rows. */
export const exported: Record<string, Exported> = {
  api_keys: { key: ['id'], without: ['secret_hash'] },
  documents: { key: ['id'] },
  conversations: { key: ['id'] },
  messages: { key: ['position'] },
  message_files: { key: ['id', 'number'] },
  model_usage: { key: ['day', 'key_id', 'kind', 'model', 'process_id'] },
}

/** Derived from documents, of files and answers that are not finished, or counters of the last minute. */
export const notExported = ['chunks', 'uploads', 'upload_parts', 'answer_pieces', 'usage']

const pageSize = 20 // rows: a document has up to 2 MB of text

async function* readTable(db: Db, table: string, { key, without = [] }: Exported, isOwned: SQL) {
  const join = (items: SQL[]) => sql.join(items, sql`, `)
  const columns = key.map((name) => sql`${sql.identifier(name)}`)
  const omitted = `{${['owner_id', ...without].join()}}`
  let isNext = isOwned
  for (;;) {
    const page = await db.execute<{ row: Record<string, unknown>; key: string[] }>(sql`
      select to_jsonb(stored) - ${omitted}::text[] as row, jsonb_build_array(${join(columns.map((name) => sql`${name}::text`))}) as key
      from ${sql.identifier(table)} as stored where ${isNext} order by ${join(columns)} limit ${pageSize}`)
    for (const { row } of page) yield { table, ...row }
    const last = page.at(-1)
    if (!last || page.length < pageSize) return
    isNext = sql`${isOwned} and (${join(columns)}) > (${join(last.key.map((value) => sql`${value}`))})`
  }
}
