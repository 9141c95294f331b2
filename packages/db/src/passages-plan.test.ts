import { sql } from 'drizzle-orm'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { connect } from './client.ts'
import { migrate } from './migrate.ts'
import { createStore } from './store.ts'
import { createTestDatabase } from './testing.ts'

// Whether a search uses its index and finds enough with it can be tested only with many rows.

const embedder = { model: 'small', dimensions: 8 }
const rows = 20_000
const tinyOwners = 399 // so many that the average owner has few chunks
const database = await createTestDatabase()
const { db, close } = connect({ url: database.databaseUrl, poolSize: 1 })
const { owners, passages } = createStore(db)
// Session settings need a direct connection to Postgres.
const direct = connect({ url: database.directDatabaseUrl, poolSize: 1 })
const [large, small, tiny] = [await owners.ensure('large'), await owners.ensure('small'), await owners.ensure('tiny 1')]
const embedding = Array.from({ length: embedder.dimensions }, (_, n) => Math.sin(n))
const search = { text: 'nothing', embedding: JSON.stringify(embedding), embeddingModel: embedder.model, limit: 50 }

beforeAll(async () => {
  await db.execute(sql`select setseed(0.5)`)
  await db.execute(
    sql`insert into owners (name) select 'tiny ' || n from generate_series(1, ${tinyOwners}::int) n on conflict do nothing`,
  )
  await db.execute(sql`
    insert into documents (owner_id, title, text, content_hash, status) select id, '', '', '', 'ready' from owners`)
  // Of 100 chunks, 1 belongs to the small owner, 40 to tiny ones, and the rest to the large one.
  await db.execute(sql`
    insert into chunks (owner_id, document_id, heading, content, start, "end", embedding_model, terms, embedding)
    select owner_id, documents.id, '', '', 0, 0, ${embedder.model}, array[n],
      array(select random() - 0.5 + 0 * n from generate_series(1, ${embedder.dimensions}::int) d)::float8[]::halfvec
    from generate_series(1, ${rows}::int) n
    join owners on owners.name = case when n % 100 = 0 then 'small' when n % 5 < 2
      then 'tiny ' || n % ${tinyOwners}::int + 1 else 'large' end
    join documents on documents.owner_id = owners.id`)
  await migrate({ directUrl: database.directDatabaseUrl, embedder })
  await db.execute(sql`analyze chunks`)
})

afterAll(async () => {
  await Promise.all([close(), direct.close()])
  await database.drop()
})

/** Returns the indexes of chunks that `work` reads, by the server's statistics. EXPLAIN does not show plans in functions. */
async function listIndexesRead(work: () => Promise<unknown>): Promise<string[]> {
  const count = async () => {
    await db.execute(sql`select pg_stat_force_next_flush()`) // otherwise a session reports its statistics once per second
    const rows = await db.execute<{ name: string; scans: number }>(sql`
      select indexrelname as name, idx_scan::int as scans from pg_stat_user_indexes where relname = 'chunks'`)
    return new Map(rows.map(({ name, scans }) => [name, scans]))
  }
  const before = await count()
  await work()
  return [...(await count())].flatMap(([name, scans]) => (scans > (before.get(name) ?? 0) ? [name] : []))
}

const searchFor = (owner: string, text = search.text) =>
  listIndexesRead(() => passages.search(owner, { ...search, text }))
const vectorIndex = expect.stringMatching(/^chunks_embedding_/)

describe('a search, through PgBouncer', () => {
  it('reads the model’s index for an owner of many chunks', async () => {
    expect(await searchFor(large)).toContainEqual(vectorIndex)
  })

  it('is exact for an owner with few of many chunks', async () => {
    const read = await searchFor(small)
    expect(read).toContain('chunks_owner_model')
    expect(read).not.toContainEqual(vectorIndex)
  })

  it('reads only an owner’s few chunks, even if a generic plan expects all of them', async () => {
    await direct.db.execute(sql`alter table chunks alter column owner_id set (n_distinct = 1)`)
    await direct.db.execute(sql`analyze chunks`)
    const { db, close } = connect({ url: database.directDatabaseUrl, poolSize: 1 }) // a new session without plans
    const countRead = async () => {
      await db.execute(sql`select pg_stat_force_next_flush()`)
      const [row] = await db.execute<{ rows: number }>(sql`
        select (seq_tup_read + idx_tup_fetch)::int as rows from pg_stat_user_tables where relname = 'chunks'`)
      return row?.rows ?? Number.NaN
    }
    const find = () => createStore(db).passages.search(tiny, { ...search, text: 'zyzzyva' })
    await find() // creates the plans, and reads the planner's statistics
    const before = await countRead()
    await find()
    const read = (await countRead()) - before
    await close()
    await direct.db.execute(sql`alter table chunks alter column owner_id reset (n_distinct)`)
    await direct.db.execute(sql`analyze chunks`)
    expect(read).toBeGreaterThan(0)
    expect(read).toBeLessThan(rows / 20)
  })

  it.each([
    ['few chunks', () => tiny, () => large],
    ['many chunks', () => large, () => small],
  ])('is planned for its owner in a session that has served another owner with %s', async (_, served, owner) => {
    for (let count = 0; count < 12; count += 1) await passages.search(served(), search) // Postgres caches a plan after five
    const read = await searchFor(owner())
    expect(read.some((name) => name.startsWith('chunks_embedding_'))).toBe(owner() === large)
  })

  it.each([
    ['many chunks', () => large],
    ['few chunks', () => tiny],
  ])('reads the index of terms for an owner of %s', async (_, owner) => {
    expect(await searchFor(owner(), 'zyzzyva')).toContain('chunks_terms')
  })

  it('is planned once per session, for all owners', async () => {
    const countPlans = async () => {
      const [row] = await db.execute<{ generic: number; custom: number }>(sql`
        select generic_plans::int as generic, custom_plans::int as custom
        from pg_prepared_statements where statement like '%by_words%'`)
      return row ?? expect.fail('not prepared')
    }
    const before = await countPlans()
    for (const owner of [large, small, tiny]) await passages.search(owner, search)
    expect(await countPlans()).toEqual({ generic: before.generic + 3, custom: before.custom })
  })
})
