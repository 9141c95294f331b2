import { once } from 'node:events'
import { createServer } from 'node:http'
import { setTimeout as sleep } from 'node:timers/promises'
import { connect, createStore, sql } from '@repo/db'
import { createTestDatabase } from '@repo/db/testing'
import { hashContent } from '@repo/rag'
import { startApi, startProgram, until } from '@repo/testing/processes'
import { afterAll, describe, expect, it, onTestFinished } from 'vitest'

const count = 1000
const test = await createTestDatabase()
const { db, close } = connect({ url: test.databaseUrl, poolSize: 1 })
const { documents, owners } = createStore(db)

afterAll(async () => {
  await close()
  await test.drop()
})

const percentile = (values: number[], part: number) =>
  Math.round(values.toSorted((a, b) => a - b)[Math.floor(values.length * part)] ?? 0)

async function countLeft() {
  const [row] = await db.execute<{ left: number }>(
    sql`select count(*)::int as left from documents where status <> 'ready'`,
  )
  return row?.left ?? 0
}

it('the API accepts documents while a thousand are processed, and none is lost', async ({ annotate }) => {
  const api = await startApi({ DATABASE_URL: test.databaseUrl })
  const post = async (title: string, text: string) => {
    const startedAt = performance.now()
    const headers = { 'content-type': 'application/json' }
    const response = await fetch(`${api.url}/documents`, {
      method: 'POST',
      headers,
      body: JSON.stringify({ title, text }),
    })
    expect(response.status).toBe(202)
    await response.text()
    return performance.now() - startedAt
  }
  const paragraph = 'The tide turns twice a day, and the harbour master writes it down.\n\n'
  for (let n = 0; n < count; n += 1) await post(`Document ${n}`, `# Part ${n}\n\n${paragraph.repeat(40)}`)
  startProgram('apps/worker/dist/worker.js', { DATABASE_URL: test.databaseUrl, LOG_LEVEL: 'warn' })
  await until(async () => (await countLeft()) < count)
  const startedAt = performance.now()
  const waits: number[] = []
  for (let n = 0; (await countLeft()) > 0; n += 1) {
    if (n < 200) waits.push(await post(`Meanwhile ${n}`, paragraph))
    else await sleep(100)
  }
  const seconds = (performance.now() - startedAt) / 1000
  const metrics = await (await fetch(`${api.url}/metrics`)).text()
  const delay = metrics.match(/^sluice_event_loop_delay_seconds.*0\.99.* (\S+)$/m)?.[1]
  const [row] = await db.execute<{ ready: number }>(
    sql`select count(*)::int as ready from documents where status = 'ready'`,
  )
  expect(row?.ready).toBe(count + waits.length)
  const [p50, p99] = [percentile(waits, 0.5), percentile(waits, 0.99)]
  await annotate(
    `POST /documents while ${count} documents are processed: p50 ${p50} ms, p99 ${p99} ms (${waits.length} posts)`,
  )
  await annotate(`event loop delay of the API meanwhile: p99 ${Math.round(Number(delay) * 1000)} ms`)
  await annotate(
    `documents of 3 chunks processed by one worker: ${Math.round((count + waits.length) / seconds)} per second`,
  )
})

describe('a line of another owner', () => {
  const statusesOf = async (name: string) => {
    const rows = await db.execute<{ status: string; count: number }>(sql`select status, count(*)::int as count
      from documents join owners on owners.id = owner_id where owners.name = ${name} group by status`)
    return Object.fromEntries(rows.map(({ status, count }) => [status, count]))
  }
  /** Adds one line and waits until it is ready. Returns the seconds, and what `first` has meanwhile. */
  const addLine = async (name: string, first: string) => {
    const title = `A line of ${name}`
    const owner = await owners.ensure(name)
    const startedAt = performance.now()
    const before = await statusesOf(first)
    const { id } = await documents.add(owner, {
      title,
      text: 'One line.',
      contentHash: hashContent(title, 'One line.'),
    })
    await until(async () => (await documents.find(owner, id))?.status === 'ready')
    const seconds = (performance.now() - startedAt) / 1000
    return { seconds: seconds.toFixed(1), before, after: await statusesOf(first) }
  }

  it('is ready after a few of the 1,000 documents that wait', async ({ annotate }) => {
    const ada = await owners.ensure('ada')
    const text = 'The tide turns twice a day, and the harbour master writes it down.\n\n'.repeat(40)
    for (let n = 0; n < count; n += 1)
      await documents.add(ada, { title: `${n}`, text, contentHash: hashContent(`${n}`, text) })
    startProgram('apps/worker/dist/worker.js', { DATABASE_URL: test.databaseUrl, LOG_LEVEL: 'warn' })
    await until(async () => ((await statusesOf('ada')).ready ?? 0) > 0)
    const { seconds, before, after } = await addLine('bob', 'ada')
    const overtaken = (after.ready ?? 0) - (before.ready ?? 0)
    expect(overtaken).toBeLessThan(100) // what the worker completes within the poll interval of a slot, at most
    await annotate(`one line while ${before.queued} documents wait: ready after ${seconds} s and ${overtaken} of them`)
    await db.execute(sql`delete from documents where owner_id = ${ada}`)
  })

  it('is ready although 17 files that nobody can read occupy the worker', async ({ annotate }) => {
    const extractor = createServer(() => {}) // never responds, so each file takes the 60 s of its limit
    await once(extractor.listen(0, '127.0.0.1'), 'listening')
    onTestFinished(() => {
      extractor.closeAllConnections()
      extractor.close()
    })
    const address = extractor.address()
    const port = typeof address === 'object' ? address?.port : undefined
    const env = { DATABASE_URL: test.databaseUrl, EXTRACTOR_URL: `http://127.0.0.1:${port}/tika` }
    startProgram('apps/worker/dist/worker.js', { ...env, LOG_LEVEL: 'warn' })
    const mallory = await owners.ensure('mallory')
    const mediaType = 'application/x-unknown'
    for (let n = 0; n < 17; n += 1)
      await documents.add(mallory, { title: `${n}`, bytes: Buffer.from([n]), mediaType, contentHash: `hostile ${n}` })
    await until(async () => (await statusesOf('mallory')).processing === 2)
    const { seconds, after } = await addLine('eve', 'mallory')
    expect(after).toEqual({ processing: 2, queued: 15 })
    await annotate(`one line while 17 files are stuck: ready after ${seconds} s`)
  })
})
