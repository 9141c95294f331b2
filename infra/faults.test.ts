import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { type MockModel, startMockModel } from '../packages/testing/src/mock-model/mock-model.ts'
import { isFull, whyNotFull } from './testing.ts'
import { type Api, createOwner, migrate, startApi } from './testing-apis.ts'
import { ask, resume } from './testing-chats.ts'
import { type BreakableStack, startBreakableStack } from './testing-faults.ts'
import {
  answerMs,
  type Chat,
  expectNoGap,
  isAnswered,
  isClean,
  isLost,
  measureLostText,
  type Row,
  startLoad,
} from './testing-load.ts'

// Failures under load, on a separate stack: two API processes, PgBouncer, Postgres, and a mock model whose every byte
// is known.

type Fault = {
  name: string
  /** Also runs in the short form. */
  isShort?: boolean
  /** The processes that the fault ends. */
  ends?: string[]
  /** Resolves when everything that ended has been started again. */
  strike: () => Promise<void>
}

const processes = ['postgres', 'pgbouncer', 'api-0', 'api-1']
let stack: BreakableStack
let model: MockModel
let apis: [Api, Api]
let client: { headers: { authorization: string } }

beforeAll(async () => {
  stack = await startBreakableStack(join(tmpdir(), `sluice faults-${process.pid}`))
  await migrate(stack.directDatabaseUrl)
  client = { headers: await createOwner(stack.databaseUrl, 'alice') }
  model = await startMockModel()
  const environment = { DATABASE_URL: stack.databaseUrl, OPENAI_BASE_URL: model.url, DRAIN_TIMEOUT_MS: '1000' }
  const start = (name: string) => startApi(stack.start, name, environment)
  apis = await Promise.all([start('api-0'), start('api-1')])
})
afterAll(async () => {
  await stack.stop()
  await model.close()
})

const faults: Fault[] = [
  {
    name: 'kill -9 of an API',
    isShort: true,
    ends: ['api-0'],
    strike: async () => {
      await apis[0].kill()
      await apis[0].restart()
    },
  },
  {
    name: 'every backend terminated every 200 ms',
    isShort: true,
    strike: () => stack.terminateBackends(isFull ? 20_000 : 3000),
  },
  { name: 'restart of PgBouncer', ends: ['pgbouncer'], strike: () => stack.restartPgbouncer() },
  { name: 'fast restart of Postgres', ends: ['postgres'], strike: () => stack.restartPostgres('SIGINT') },
  { name: 'immediate restart of Postgres', ends: ['postgres'], strike: () => stack.restartPostgres('SIGQUIT') },
  { name: 'Postgres frozen for 10 s', strike: () => stack.freezePostgres(10_000) },
  {
    name: 'SIGTERM of an API',
    ends: ['api-0'],
    strike: async () => {
      expect(await apis[0].stop()).toContain('exit code 0')
      await apis[0].restart()
    },
  },
]

describe.each(faults)('$name', ({ name, isShort = false, ends = [], strike }) => {
  it('loses nothing, and the service recovers by itself', async ({ skip, annotate }) => {
    skip(!isShort && !isFull, whyNotFull)
    const urls = apis.map(({ url }) => url)
    const load = startLoad(name.replaceAll(/\W+/g, '-'), urls, client)
    await sleep(answerMs)
    const underWay = load.countUnderWay()
    const pids = processes.map(stack.findPid)
    await strike()
    const seconds = await untilServiceIsBack(urls)
    const requests = await load.stop(isFull ? 600_000 : 1000)

    const hasEnded = ({ api }: { api: number }) => ends.includes(`api-${api}`)
    const failed = requests.filter((request) => !isAnswered(request))
    expect(failed.filter((request) => !isClean(request, hasEnded(request)))).toEqual([])
    expect(processes.filter((process, index) => stack.findPid(process) !== pids[index])).toEqual(ends)

    const cut = load.chats.filter(({ lastEventId, end }) => lastEventId && (end === undefined || end === 'interrupted'))
    if (isFull) await expectResumable(cut)
    const rows = await readRows(load.chats)
    for (const chat of load.chats) expectNoGap(chat, rows)
    const lost = load.chats.filter((chat) => isLost(chat, rows))
    expect(lost).toEqual([])
    const crashed = cut.filter(hasEnded).map((chat) => measureLostText(chat, rows))
    const cells = [
      name.padEnd(38),
      `${String(underWay).padStart(3)} under way`,
      `${String(requests.length - failed.length).padStart(5)} answered`,
      `${String(failed.length).padStart(4)} failed cleanly`,
      `${lost.length} lost`,
      `back after ${seconds.toFixed(1)} s`,
      ...(crashed.length > 0 ? [`${Math.max(...crashed)} ms of text lost`] : []),
    ]
    await annotate(cells.join(' | '))
  })
})

/** Returns the seconds until each process answers a chat. Throws when one does not within ten minutes. */
async function untilServiceIsBack(urls: string[]): Promise<number> {
  const startedAt = performance.now()
  const untilBack = async (url: string) => {
    for (;;) {
      const reading = await ask(url, client, { message: 'Are you back? [mock tokens=1]' })
      if (isAnswered(reading)) return
      if (performance.now() > startedAt + 600_000) throw new Error(`${url} is not back: ${JSON.stringify(reading)}`)
      await sleep(100)
    }
  }
  await Promise.all(urls.map(untilBack))
  return (performance.now() - startedAt) / 1000
}

/**
 * Clients that were cut off resume on the other process until the end, which that process sees within half a minute.
 */
async function expectResumable(chats: Chat[]): Promise<void> {
  await Promise.all(chats.map((chat) => resume(apis[1].url, client, chat.id, chat)))
  expect(chats.filter(({ end }) => end === undefined)).toEqual([])
}

/**
 * Returns what is stored of chats. The full form waits until no answer is running, at most half a minute after a crash.
 */
async function readRows(chats: Chat[]): Promise<Row[]> {
  const ids = chats.map(({ id }) => id)
  const read = () =>
    stack.inDatabase(
      (sql) => sql<Row[]>`
        select conversation_id as chat, id, role, content, status from messages
        where conversation_id in ${sql(ids)}`,
    )
  const hasNoneRunning = async () => (await read()).every(({ status }) => status !== 'streaming')
  if (isFull) await expect.poll(hasNoneRunning, { timeout: 600_000, interval: 500 }).toBe(true)
  return read()
}
