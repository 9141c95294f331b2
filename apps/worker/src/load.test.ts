import { setTimeout as sleep } from 'node:timers/promises'
import { connect, sql } from '@repo/db'
import { createTestDatabase } from '@repo/db/testing'
import { startApi, startProgram, until } from '@repo/testing/processes'
import { afterAll, expect, it } from 'vitest'

const count = 1000
const test = await createTestDatabase()
const { db, close } = connect({ url: test.databaseUrl, poolSize: 1 })

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
