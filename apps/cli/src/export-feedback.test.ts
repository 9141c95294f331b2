import { once } from 'node:events'
import { PassThrough } from 'node:stream'
import { connect, createStore, sql } from '@repo/db'
import { createTestDatabase } from '@repo/db/testing'
import { afterAll, expect, it } from 'vitest'
import { exportFeedback } from './export-feedback.ts'

const test = await createTestDatabase()
const { db, pool, close } = connect({ url: test.databaseUrl, poolSize: 1 })
afterAll(async () => {
  await close()
  await test.drop()
})
const owner = await createStore(db).owners.ensure('ada')
await db.execute(sql`insert into conversations (owner_id, id, title) values (${owner}, 'c', 'a title')`)
await db.execute(sql`
  insert into messages (owner_id, conversation_id, id, role, status, content, feedback, feedback_at)
  select ${owner}, 'c', 'm' || n, 'assistant', 'complete', repeat('text ', 1000), 1, now() from generate_series(1, 1000) as n`)

it('reads no further than the reader, without holding a connection', async () => {
  const output = new PassThrough()
  const exporting = exportFeedback({ db, output })
  await once(output, 'readable')
  await expect.poll(() => output.readableLength).toBeGreaterThan(output.readableHighWaterMark / 2)
  expect(output.readableLength).toBeLessThan(100_000)
  expect(pool.countUsed()).toBe(0)
  let lines = 0
  output.on('data', (bytes) => {
    lines += String(bytes).split('\n').length - 1
  })
  await exporting
  await expect.poll(() => lines).toBe(1000)
})

it('ends without an error when the reader leaves', async () => {
  const output = new PassThrough()
  output.once('data', () => output.destroy(Object.assign(new Error('write EPIPE'), { code: 'EPIPE' })))
  await expect(exportFeedback({ db, output })).resolves.toBeUndefined()
})
