import { sql } from 'drizzle-orm'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { connect } from './client.ts'
import { migrate } from './migrate.ts'
import { quoteLiteral } from './passages.ts'
import { createStore } from './store.ts'
import { asJson, createTestDatabase } from './testing.ts'

// Whether a search uses its index, and finds enough with it, shows only with many rows.

const embedder = { model: 'small', dimensions: 8 }
const rows = 20_000
const tinyOwners = 399 // so many that an owner, on the average, has few chunks
const database = await createTestDatabase()
// One connection, straight to Postgres: a prepared statement is explained in the session that prepared it.
const { db, close } = connect({ url: database.directDatabaseUrl, poolSize: 1 })
const { owners, passages } = createStore(db)
const [large, small, tiny] = [await owners.ensure('large'), await owners.ensure('small'), await owners.ensure('tiny 1')]
const embedding = Array.from({ length: embedder.dimensions }, (_, n) => Math.sin(n))
const search = { text: 'nothing', embedding: asJson(embedding), embeddingModel: embedder.model, limit: 50 }

beforeAll(async () => {
  await db.execute(sql`select setseed(0.5)`)
  await db.execute(
    sql`insert into owners (name) select 'tiny ' || n from generate_series(1, ${tinyOwners}::int) n on conflict do nothing`,
  )
  await db.execute(sql`
    insert into documents (owner_id, title, text, content_hash, status) select id, '', '', '', 'ready' from owners`)
  // Of 100 chunks 1 is the small owner's and 40 are tiny ones'.
  await db.execute(sql`
    insert into chunks (owner_id, document_id, heading, content, start, "end", embedding_model, embedding)
    select owner_id, documents.id, '', '', 0, 0, ${embedder.model},
      array(select random() - 0.5 + 0 * n from generate_series(1, ${embedder.dimensions}::int) d)::float8[]::halfvec
    from generate_series(1, ${rows}::int) n
    join owners on owners.name = case when n % 100 = 0 then 'small' when n % 5 < 2
      then 'tiny ' || n % ${tinyOwners}::int + 1 else 'large' end
    join documents on documents.owner_id = owners.id`)
  await migrate({ directUrl: database.directDatabaseUrl, embedder })
  await db.execute(sql`analyze chunks`)
})

afterAll(async () => {
  await close()
  await database.drop()
})

/** The plan of the very statement that `passages` prepared, as JSON text, after `searches` of other owners. */
async function explainSearch(owner: string, planCacheMode = 'auto'): Promise<string> {
  await passages.search(owner, search)
  const [prepared] = await db.execute<{ name: string; statement: string; types: string }>(sql`
    select name, statement, parameter_types::text as types from pg_prepared_statements
    where statement like '%by_vector%'`)
  const values = listParameters(prepared?.statement ?? '', owner)
  return db.transaction(async (tx) => {
    await tx.execute(sql.raw(`set local plan_cache_mode = ${planCacheMode}`))
    return JSON.stringify(await tx.execute(sql.raw(`explain (format json) execute "${prepared?.name}" (${values})`)))
  })
}

/** What stands for each `$n`, told by what is around it. */
function listParameters(statement: string, owner: string): string {
  const count = Math.max(...[...statement.matchAll(/\$(\d+)/g)].map(([, n]) => Number(n)))
  return Array.from({ length: count }, (_, index) => {
    const [, before = '', after = ''] = new RegExp(`(.{0,25})\\$${index + 1}(?!\\d)(.{0,12})`).exec(statement) ?? []
    if (after.startsWith('::halfvec')) return quoteLiteral(JSON.stringify(embedding))
    if (after.startsWith('::boolean')) return 'true'
    if (after.startsWith('::float8')) return '1'
    if (before.endsWith('limit ')) return String(search.limit) // each leg's is 50, too
    return quoteLiteral(/owner_id"? = $|::text\[\], $/.test(before) ? owner : search.text)
  }).join(', ')
}

describe('the plan of a search', () => {
  it('uses the model’s index for an owner of many chunks', async () => {
    expect(await explainSearch(large)).toContain('"chunks_embedding_')
  })

  it('is exact for an owner of few among many', async () => {
    const plan = await explainSearch(small)
    expect(plan).toContain('"chunks_owner"')
    expect(plan).not.toContain('"chunks_embedding_')
  })

  it.each([
    ['few chunks', () => tiny, () => large],
    ['many chunks', () => large, () => small],
  ])('is that of its owner in a session that has served another of %s', async (_, served, owner) => {
    for (let count = 0; count < 12; count += 1) await passages.search(served(), search) // a plan is kept after five
    const plan = await explainSearch(owner())
    expect(plan.includes('"chunks_embedding_')).toBe(owner() === large)
    const [kept] = await db.execute<{ plans: number }>(sql`
      select generic_plans::int as plans from pg_prepared_statements where statement like '%by_vector%'`)
    expect(kept?.plans).toBe(0)
  })
})

describe('a search in the index for an owner of 1 % of the rows', () => {
  /** The planner would search so few rows exactly: here it may not. */
  async function searchIndex(...settings: string[]) {
    const forbidden = ['enable_seqscan = off', 'enable_bitmapscan = off', 'enable_sort = off']
    for (const setting of ['plan_cache_mode = force_custom_plan', ...forbidden, ...settings]) {
      await db.execute(sql.raw(`set ${setting}`))
    }
    const found = await passages.search(small, search)
    await db.execute(sql`reset all`)
    return found
  }

  it('finds as many as it was asked for, and the same as an exact one', async () => {
    const found = await searchIndex()
    expect(found).toHaveLength(search.limit)
    const exact = new Set((await passages.search(small, search)).map(({ chunkId }) => chunkId))
    expect(found.filter(({ chunkId }) => exact.has(chunkId)).length).toBeGreaterThanOrEqual(45)
  })

  it('would find almost none without the setting that db:migrate makes', async () => {
    expect((await searchIndex('hnsw.iterative_scan = off')).length).toBeLessThan(10)
  })
})
