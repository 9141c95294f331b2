import { createTestDatabase } from '@repo/db/testing'
import { isAlive, startApi, startScriptedServer, until } from '@repo/testing/processes'
import { post, readParts } from '@repo/testing/ui-stream'
import { afterAll, expect, it } from 'vitest'

const test = await createTestDatabase()
afterAll(test.drop)
const vendor = await startScriptedServer()
const api = await startApi({ DATABASE_URL: test.databaseUrl, WEB_CONCURRENCY: '2', ...vendor.env })
const pids = await until(() => {
  const listening = new Set(api.logs().flatMap(({ msg, pid }) => (msg === 'listening' ? pid : [])))
  return listening.size === 2 && [...listening]
})

/** Opens a new connection per request, so any worker may handle it. */
const get = (path: string) => fetch(`${api.url}${path}`, { headers: { connection: 'close' } })
const read = async () => (await get('/metrics')).text()
/** Returns a reading that includes both workers. On a busy machine one may miss the deadline. */
const readBoth = () =>
  until(async () => {
    const text = await read()
    return find(text, 'sluice_processes') === 2 && text
  })
const liveRequests = 'sluice_http_request_duration_seconds_count{method="GET",route="/health/live",status="200"}'

function find(text: string, series: string): number {
  const line = text.split('\n').find((candidate) => candidate.startsWith(`${series} `))
  return Number(line?.slice(series.length))
}

it('each of two workers returns the sum of both', async () => {
  const asked = Array.from({ length: 4 }, () => post(`${api.url}/chat`, { connection: 'close' }, { message: 'Go on?' }))
  const answers = await Promise.all(asked.map(() => vendor.takeAnswer()))
  for (const answer of answers) answer.say('one')
  for (let count = 0; count < 6; count += 1) await get('/health/live')
  const responses = await Promise.all(asked)
  for (const text of [await readBoth(), await readBoth()]) {
    expect(find(text, 'sluice_open_streams')).toBe(4)
    expect(find(text, 'sluice_pool_size')).toBe(20)
    expect(find(text, liveRequests)).toBe(6)
  }
  for (const answer of answers) answer.end()
  for (const response of responses) await readParts(response)
  const ended = await readBoth()
  expect(find(ended, 'sluice_answers_total{status="complete"}')).toBe(4)
  expect(find(ended, 'sluice_answer_deltas_total')).toBe(4)
  expect(find(ended, 'sluice_time_to_first_token_seconds_count')).toBe(4)
})

it('keeps the counters of a worker that hangs or crashes, but not its gauges', async () => {
  const [first = 0] = pids
  const before = find(await readBoth(), liveRequests)
  process.kill(first, 'SIGSTOP')
  // The system distributes connections at random, so half of these reach the worker that hangs.
  const hung = await Promise.any(Array.from({ length: 20 }, read))
  expect(find(hung, 'sluice_processes')).toBe(1)
  expect(find(hung, liveRequests)).toBe(before)

  process.kill(first, 'SIGKILL')
  await until(() => !isAlive(first))
  const afterCrash = await read()
  expect(find(afterCrash, 'sluice_processes')).toBe(1)
  expect(find(afterCrash, liveRequests)).toBe(before)

  await readBoth()
  await get('/health/live')
  expect(find(await readBoth(), liveRequests)).toBe(before + 1)
})
