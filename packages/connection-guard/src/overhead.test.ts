import { channel } from 'node:diagnostics_channel'
import pg from 'pg'
import { expect, it, onTestFinished } from 'vitest'
import { createGuard } from './index.ts'

/** Returns the CPU time of one call, the lowest of five rounds. */
async function measure(work: () => unknown, times = 50_000): Promise<number> {
  const round = async () => {
    const before = process.cpuUsage()
    for (let time = 0; time < times; time++) await work()
    const { user, system } = process.cpuUsage(before)
    return (user + system) / times
  }
  const rounds: number[] = []
  for (let n = 0; n < 5; n++) rounds.push(await round())
  return Math.min(...rounds)
}

/** A pool that answers without a server, so that only the guard's cost differs. */
function createPool() {
  const client = { query: async () => 1, release: () => pool.emit('release', undefined, client) }
  const pool = Object.assign(new pg.Pool(), { connect: async () => client, query: async () => 1 })
  return pool
}

it('costs less than 1 µs per query and 2 µs per request', async ({ annotate }) => {
  const guard = createGuard({ mode: 'throw' })
  const [plain, guarded] = [createPool(), guard.pg(createPool())]
  const [plainClient, client] = [await plain.connect(), await guarded.connect()]
  const db = { transaction: async (work: () => Promise<number>) => work() }
  const guardedDb = guard.drizzle({ ...db })
  const work = async () => 1
  const created = channel('undici:request:create')
  const message = { request: { origin: 'http://a', path: '/', method: 'GET' } }

  const costs = {
    query: (await measure(() => guarded.query('a'))) - (await measure(() => plain.query('a'))),
    'query of a client': (await measure(() => client.query('a'))) - (await measure(() => plainClient.query('a'))),
    transaction: (await measure(() => guardedDb.transaction(work))) - (await measure(() => db.transaction(work))),
  }
  client.release()
  const request = await measure(() => created.publish(message))
  const check = await measure(() => guard.check())
  guard.stop()
  onTestFinished(guard.stop)
  await annotate(
    `µs of CPU: ${JSON.stringify({ ...costs, request, check }, (_, v) => (v > 0 ? Number(v.toFixed(3)) : v))}`,
  )
  expect(Math.max(costs.query, costs['query of a client'])).toBeLessThan(1)
  expect(request).toBeLessThan(2)
})
