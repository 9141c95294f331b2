import { sql } from 'drizzle-orm'
import { afterAll, beforeAll, expect, it, vi } from 'vitest'
import { connect } from './client.ts'
import { createStatistics } from './statistics.ts'
import { createTestDatabase } from './testing.ts'

const database = await createTestDatabase()
const { db, close } = connect({ url: database.databaseUrl, poolSize: 1 })
const owner = '00000000-0000-0000-0000-000000000001'

beforeAll(async () => {
  await db.execute(sql`insert into owners (id, name) values (${owner}, 'large')`)
  const [document] = await db.execute<{ id: string }>(sql`
    insert into documents (owner_id, title, text, content_hash, status)
    values (${owner}, '', '', '', 'ready') returning id`)
  // Term 7 is in all chunks, 8 in every fourth, and the others in one each.
  await db.execute(sql`
    insert into chunks (owner_id, document_id, heading, content, start, "end", embedding_model, embedding, terms)
    select ${owner}, ${document?.id}, '', '', 0, 0, '', '[1]', array[7, case when n % 4 = 0 then 8 end, 1000 + n]
    from generate_series(1, 2000) n`)
})

afterAll(async () => {
  await close()
  await database.drop()
})

it('know nothing before the first ANALYZE', async () => {
  expect(await createStatistics(db)()).toEqual({ total: 0, byOwner: new Map(), byTerm: new Map(), rarest: 0 })
})

it('know the number of chunks, of large owners and of common terms', async () => {
  await db.execute(sql`analyze chunks`)
  const { total, byOwner, byTerm, rarest } = await createStatistics(db)()
  expect(total).toBe(2000)
  expect(byOwner).toEqual(new Map([[owner, 2000]]))
  expect([byTerm.get(7), byTerm.get(8)]).toEqual([2000, 500])
  expect(rarest).toBe(Math.min(...byTerm.values()))
})

it('are read once per minute, and again after a failure', async () => {
  const execute = vi.spyOn(db, 'execute')
  const read = createStatistics(db)
  execute.mockRejectedValueOnce(new Error('the database is away'))
  await expect(read()).rejects.toThrow('the database is away')
  await Promise.all([read(), read(), read()])
  expect(execute).toHaveBeenCalledTimes(2)
  vi.spyOn(performance, 'now').mockReturnValue(performance.now() + 60_001)
  await read()
  expect(execute).toHaveBeenCalledTimes(3)
})
