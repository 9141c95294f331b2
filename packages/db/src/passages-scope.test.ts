import { sql } from 'drizzle-orm'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { connect } from './client.ts'
import { migrate } from './migrate.ts'
import type { Scope } from './schema.ts'
import { createStore } from './store.ts'
import { createTokenizer } from './terms.ts'
import { createTestDatabase } from './testing.ts'

// How many of the nearest chunks of a scope are found can be measured only with many chunks.

const embedder = { model: 'small', dimensions: 8 }
const [documentCount, chunksPerDocument] = [1000, 20]
const database = await createTestDatabase()
// Session settings need a direct connection to Postgres.
const { db, close } = connect({ url: database.directDatabaseUrl, poolSize: 1 })
const { owners, passages } = createStore(db)
const owner = await owners.ensure('ada')

/** Components from -0.5 to 0.5. The first says on which side of the space a vector is. */
const vector = (first: number, seed: number) =>
  Array.from({ length: embedder.dimensions }, (_, n) => (n === 0 ? first : Math.sin(seed * 7919 + n * n * 31) / 2))

beforeAll(async () => {
  await db.execute(sql`select setseed(0.5)`)
  // Document n has the entry "every N" if N divides n. Every fourth is far from the others.
  await db.execute(sql`
    insert into documents (owner_id, title, text, content_hash, status, metadata)
    select ${owner}, 'Document ' || n, '', n, 'ready', (
      select jsonb_object_agg('every ' || step, true) from unnest(array[1, 2, 4, 10, 100, 1000]) as step where n % step = 0)
    from generate_series(0, ${documentCount - 1}::int) n`)
  const { indexTerms } = createTokenizer()
  const [boat, sail] = [indexTerms(owner, 'boat'), indexTerms(owner, 'sail')]
  await db.execute(sql`
    insert into chunks (owner_id, document_id, heading, content, start, "end", embedding_model, terms, weights, embedding)
    select owner_id, id, '', '', 0, 0, ${embedder.model},
      case n % 2 when 0 then array[${boat.terms[0]}::int] else array[${sail.terms[0]}::int] end,
      case n % 2 when 0 then ${boat.weights}::sparsevec else ${sail.weights}::sparsevec end,
      array(select case when d > 1 then random() - 0.5 when metadata ? 'every 4' then -1 else 1 end + 0 * n
        from generate_series(1, ${embedder.dimensions}::int) d)::float8[]::halfvec
    from documents, generate_series(1, ${chunksPerDocument}::int) n`)
  await migrate({ directUrl: database.directDatabaseUrl, embedder })
  await db.execute(sql`vacuum analyze chunks`)
  // A tenth of all chunks. The default, 20,000, is a tenth of 200,000.
  await db.execute(sql`set hnsw.max_scan_tuples = 2000`)
})

afterAll(async () => {
  await close()
  await database.drop()
})

const asked = { text: '', embeddingModel: embedder.model, limit: 50 }

async function findNearest(embedding: number[], scope: Scope) {
  const found = await passages.search(owner, { ...asked, embedding: JSON.stringify(embedding), scope })
  return found.map(({ chunkId }) => chunkId)
}

/** Returns the nearest chunks by comparing all of the scope. */
async function compareAll(embedding: number[], entry: string, limit = asked.limit) {
  const rows = await db.execute<{ id: string }>(sql`
    select chunks.id from chunks join documents on documents.id = document_id
    where metadata ? ${entry}
    order by (embedding <=> ${JSON.stringify(embedding)}::halfvec) + 0, chunks.id limit ${limit}`)
  return rows.map(({ id }) => id)
}

/** Returns the share of the wanted chunks that were found. */
const measureRecall = (found: string[], wanted: string[]) =>
  wanted.filter((id) => found.includes(id)).length / wanted.length

/** Counts scans of the vector index, and rows of all indexes read, during `work`, by the server's statistics. */
async function countReads(work: () => Promise<unknown>) {
  const count = async () => {
    await db.execute(sql`select pg_stat_force_next_flush()`)
    const [reads] = await db.execute<{ vectors: number; rows: number }>(sql`
      select (sum(idx_scan) filter (where indexrelname like 'chunks_embedding_%'))::int as vectors,
        sum(idx_tup_read)::int as rows
      from pg_stat_user_indexes where relname = 'chunks'`)
    return reads ?? expect.fail('no statistics')
  }
  const before = await count()
  await work()
  const after = await count()
  return { vectors: after.vectors - before.vectors, rows: after.rows - before.rows }
}

describe('a search in a scope', () => {
  it.each([
    ['0.1 %', 'every 1000'],
    ['1 %', 'every 100'],
    ['10 %', 'every 10'],
    ['25 %', 'every 4'],
    ['50 %', 'every 2'],
    ['100 %', 'every 1'],
  ])('that matches %s of the chunks finds at least 0.95 of the nearest', async (_, entry) => {
    const recalls: number[] = []
    for (let seed = 0; seed < 40; seed += 1) {
      const embedding = vector(seed % 2 ? 0.5 : -0.5, seed)
      const found = await findNearest(embedding, { filter: { [entry]: true } })
      expect(found).toHaveLength(Math.min(asked.limit, (await compareAll(embedding, entry)).length))
      recalls.push(measureRecall(found, await compareAll(embedding, entry, 10)))
    }
    expect(recalls.reduce((sum, recall) => sum + recall, 0) / recalls.length).toBeGreaterThanOrEqual(0.95)
  })

  it('reads the vector index if many chunks match, otherwise only those that match', async () => {
    const read = (entry: string) => countReads(() => findNearest(vector(0.5, 1), { filter: { [entry]: true } }))
    await read('every 1000') // creates the plans, and reads the planner's statistics
    expect(await read('every 2')).toMatchObject({ vectors: 1 })
    const few = await read('every 1000')
    expect(few.vectors).toBe(0)
    expect(few.rows).toBeLessThan((documentCount * chunksPerDocument) / 20)
  })

  it('compares all chunks when the index stops before it reaches those that match', async () => {
    const embedding = vector(0.5, 1) // the documents of "every 4" are on the other side
    let found: string[] = []
    const { vectors } = await countReads(async () => {
      found = await findNearest(embedding, { filter: { 'every 4': true } })
    })
    expect(vectors).toBe(1)
    expect(found).toEqual(await compareAll(embedding, 'every 4'))
  })

  it('searches for every word among few chunks, however common it is elsewhere', async () => {
    const embedding = JSON.stringify(vector(0.5, 1))
    const search = { ...asked, embedding, text: 'zyzzyva boat sail', scope: { filter: { 'every 1000': true } } }
    const found = await passages.search(owner, search)
    expect(found.filter(({ textRank }) => textRank !== null)).toHaveLength(chunksPerDocument)
  })
})
