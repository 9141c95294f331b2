import { tmpdir } from 'node:os'
import { join } from 'node:path'
import postgres from 'postgres'
import { afterAll, beforeAll, beforeEach, expect, it } from 'vitest'
import { mockAnswer, startMockModel } from '../../packages/testing/src/mock-model/mock-model.ts'
import { copyRepository } from '../template/testing.ts'
import { isFull, whyNotFull } from '../testing.ts'
import { createOwner, migrate, startApi } from '../testing-apis.ts'
import { ask, type Client, type Reading, send } from '../testing-chats.ts'
import { type Chat, type Failure, failedInStream, isWhole, startPeople } from '../testing-deploy.ts'
import { type BreakableStack, startBreakableStack } from '../testing-faults.ts'
import { isAnswered, type Row } from '../testing-load.ts'
import { buildOverlay, findBuilder, whyNoBuilder } from './build.ts'
import { readFacts } from './facts.ts'
import { sortObjects } from './objects.ts'
import { addStandby } from './testing-database.ts'
import { createEndpoints, readNumbers } from './testing-pods.ts'
import { addMigration, addRoute } from './testing-versions.ts'

// Rehearses what happens in a cluster, with processes in place of pods, while 500 answers are read and new questions
// arrive. All times come from the overlay `production`, divided by `scale`.

const scale = 10 // preStop 15 s becomes 1.5 s, DRAIN_TIMEOUT_MS 120 s becomes 12 s
const streams = 500
const pace = { lengths: [4, 20, 20, 20], intervalMs: 1000, rampMs: 10_000 } // 4 and 20 s: some are longer than the scaled drain
const builder = findBuilder()
const directory = join(tmpdir(), `sluice rehearsal-${process.pid}`)

const numbers = builder && readNumbers(sortObjects(buildOverlay(builder, 'production')))
const toMs = (seconds = 0) => (seconds * 1000) / scale
const versions: number[] = []
let version = 1
let stack: BreakableStack
let copy: ReturnType<typeof copyRepository>
let database: Awaited<ReturnType<typeof addStandby>>
let model: Awaited<ReturnType<typeof startMockModel>>
let client: Client
let pods: ReturnType<typeof createEndpoints>
let people: ReturnType<typeof startPeople>

const canRun = isFull && numbers !== undefined
beforeEach(({ skip }) => {
  skip(!isFull, whyNotFull)
  skip(!builder, whyNoBuilder)
})
beforeAll(async () => {
  if (!canRun) return
  copy = copyRepository()
  ;[stack, model] = await Promise.all([startBreakableStack(directory), startMockModel()])
  database = await addStandby(stack, directory, numbers.synchronous)
  await Promise.all([addMigration(copy.directory, 'first'), addRoute(copy.directory)])
  const { status, output } = await copy.run('node infra/local/build.ts')
  if (status !== 0) throw new Error(output)
  await migrate(stack.directDatabaseUrl, copy.directory)
  client = { headers: await createOwner(stack.databaseUrl, 'alice') }
  const environment = {
    DATABASE_URL: stack.databaseUrl,
    OPENAI_BASE_URL: model.url,
    DRAIN_TIMEOUT_MS: `${toMs(numbers.drain)}`,
  }
  const options = { checkout: copy.directory, graceMs: numbers.grace * 1000 }
  const start = (name: string) => startApi(stack.start, name, { ...environment, VERSION: `${version}` }, options)
  pods = createEndpoints(start, {
    minReadyMs: toMs(numbers.minReady),
    preStopMs: toMs(numbers.preStop),
    leaveMs: toMs(numbers.leave),
    untilResponded: (url) => people.untilResponded(url),
  })
  for (let count = 0; count < Math.ceil(numbers.replicas / 2) * 2; count += 1) await pods.add() // even, to halve it
  const repeated = [
    { name: 'version', request: readVersion },
    { name: 'motto', request: (url: string) => send(`${url}/mottos`, client, undefined, 'PUT') },
  ]
  people = startPeople({ pick: pods.pick, client, count: streams, repeated, ...pace })
})
afterAll(async () => {
  if (!canRun) return
  await people?.stop()
  await stack?.stop()
  await database?.close()
  await model?.close()
  copy?.remove()
})

async function readVersion(url: string): Promise<Reading> {
  try {
    const response = await fetch(`${url}/mottos`, { headers: client.headers })
    const { version, code } = JSON.parse(await response.text())
    if (response.ok) versions.push(version)
    return { text: '', status: response.status, code }
  } catch (error) {
    return { text: '', failure: String(error) }
  }
}

const untilBusy = () => expect.poll(people.countStreams).toBeGreaterThan(streams * 0.95) // the others are just asking
const isNew = (before: number) => (_: Chat, index: number) => index >= before
/** Waits until chats that began from now on are answered. */
const untilNewAnswers = async () => {
  const before = people.chats.length
  await expect.poll(() => people.chats.filter(isNew(before)).filter(isWhole).length).toBeGreaterThan(10)
}
/** Whether a question has neither failed nor the first word of its answer. */
const isPending = ({ text, end, code, failure }: Chat) => !text && !end && !code && !failure
const count = (failures: unknown[]) => `${failures.length} requests failed`

it('all times have the proportions of the manifests', () => {
  const { closeSeconds } = readFacts()
  expect(numbers).toMatchObject({ rolling: { maxSurge: 1, maxUnavailable: 0 }, replicas: 3, synchronous: 1 })
  const { leave = 0, preStop = 0, drain = 0, grace = 0 } = numbers ?? {}
  expect(leave).toBeLessThanOrEqual(preStop)
  expect(preStop + drain + closeSeconds).toBeLessThan(grace)
  expect(Math.max(...pace.lengths) * pace.intervalMs).toBeGreaterThan(toMs(preStop + drain)) // some answers are cut
})

it('a rollout with a migration: both versions serve, and no request fails', async ({ annotate }) => {
  await untilBusy()
  await addMigration(copy.directory, 'expand')
  await migrate(stack.directDatabaseUrl, copy.directory)
  version = 2
  const exits = await pods.replaceAll()
  await untilNewAnswers()
  expect(exits.map((exit) => exit.match(/\(.*\)/)?.[0])).toEqual(exits.map(() => '(exit code 0)'))
  expect(people.takeFailures()).toEqual([])
  expect(versions.lastIndexOf(1)).toBeGreaterThan(versions.indexOf(2))
  await annotate(`${exits.length} replicas replaced: ${people.countRequests()} requests, none failed`)
})

it('half of the replicas leave at once, and no request fails', async () => {
  await untilBusy()
  const exits = await pods.scaleIn()
  await untilNewAnswers()
  expect(exits.map((exit) => exit.match(/\(.*\)/)?.[0])).toEqual(exits.map(() => '(exit code 0)'))
  expect(people.takeFailures()).toEqual([])
})

it('the primary is killed and a standby promoted: only requests to the killed primary fail', async ({ annotate }) => {
  await untilBusy()
  await database.killPrimary()
  await database.promote()
  const promotedAt = performance.now()
  const isAccepted = async (url: string) => isAnswered(await ask(url, client, { message: 'Now? [mock tokens=1]' }))
  for (const { url } of pods.list()) await expect.poll(() => isAccepted(url)).toBe(true)
  const seconds = ((performance.now() - promotedAt) / 1000).toFixed(1)
  const asked = people.chats.length
  await expect.poll(() => people.chats.slice(0, asked).filter(isPending).length).toBe(0)
  const failures = people.takeFailures()
  const isClean = ({ status, code, failure }: Failure) =>
    failure === failedInStream || (status === 503 && code?.startsWith('database_'))
  expect(failures.filter((failure) => !isClean(failure))).toEqual([])
  await untilNewAnswers()
  expect(people.takeFailures()).toEqual([])
  await annotate(`each replica accepts chats ${seconds} s after the promotion; ${count(failures)} before`)
})

it('half of the replicas are killed: only their connections fail', async ({ annotate }) => {
  await untilBusy()
  const killed = await pods.loseNode()
  await untilNewAnswers()
  const failures = people.takeFailures()
  expect(failures.length).toBeGreaterThan(0)
  expect(failures.filter(({ url, failure }) => !killed.includes(url) || !failure)).toEqual([])
  await annotate(`${count(failures)}, all of them on the connections of ${killed.length} killed replicas`)
})

it('no message was lost, and each cut answer was read to its end on another replica', async ({ annotate }) => {
  await people.stop()
  expect(people.takeFailures()).toEqual([])
  const accepted = people.chats.filter(({ messageId }) => messageId)
  const rows = new Map((await readRows()).map((row) => [`${row.chat} ${row.role}`, row]))
  const wrong = accepted.filter((chat) => {
    const [question, answer] = ['user', 'assistant'].map((role) => rows.get(`${chat.id} ${role}`))
    return question?.content !== chat.question || answer?.id !== chat.messageId || !isSame(chat, answer)
  })
  expect(wrong).toEqual([])
  const cut = accepted.filter(({ urls }) => urls.length > 1)
  expect(cut.length).toBeGreaterThan(streams / 4)
  expect(cut.filter(({ urls }) => urls[0] === urls.at(-1))).toEqual([])
  const whole = accepted.filter((chat) => isWhole(chat) && !cut.includes(chat)).length
  await annotate(
    `${accepted.length} chats: ${whole} whole, ${cut.length} cut and read on elsewhere, 0 lost; ${people.countSheds()} told to come back, the machine being busy`,
  )
})

/**
 * Whether the client has exactly the stored text. After a kill, it may have a second of text more. An answer whose search
 * met the killed primary has none.
 */
function isSame({ question, tokens, text, end, urls }: Chat, answer: Row | undefined): boolean {
  const { content = '', status = '' } = answer ?? {}
  const sent = mockAnswer(question, tokens)
  if (end === 'complete') return status === 'complete' && text === sent && content === sent
  if (end === 'failed') return status === end && text === '' && content === ''
  return urls.length > 1 && end === 'interrupted' && status === end && text.startsWith(content) && sent.startsWith(text)
}

async function readRows(): Promise<Row[]> {
  const sql = postgres(stack.databaseUrl, { max: 1, fetch_types: false })
  try {
    return await sql<Row[]>`select conversation_id as chat, id, role, content, status from messages`
  } finally {
    await sql.end()
  }
}
