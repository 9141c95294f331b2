import { afterAll, expect, it, onTestFinished } from 'vitest'
import { startMockModel } from '../packages/testing/src/mock-model/mock-model.ts'
import { readCommands, readSection } from './testing.ts'
import { resume, send, stop } from './testing-chats.ts'
import { useCompose } from './testing-compose.ts'
import { type Chat, createChat, isWhole, reconnect, startChat, startPeople } from './testing-deploy.ts'

const nobody = { headers: {} }
const sum = (counts: number[]) => counts.reduce((total, count) => total + count, 0)

// Two replicas of the API and two workers behind the balancer, in one stack for all tests. The rehearsals in
// `kubernetes` test the replacement of many replicas under load.

const model = await startMockModel({ host: '0.0.0.0' }) // containers use another address of this machine
afterAll(model.close)
const compose = await useCompose(({ up }) =>
  up({
    API_REPLICAS: '2',
    WORKER_REPLICAS: '2',
    OPENAI_BASE_URL: model.url.replace('127.0.0.1', 'host.docker.internal'),
    CHAT_MODEL: 'mock',
    CONVERSATION_TITLES: 'question', // else the model gets a second call per conversation
    DRAIN_TIMEOUT_MS: '2000', // most answers of these tests end within it, some do not
    MODEL_FIRST_BYTE_TIMEOUT_MS: '600000', // the model waits until a test releases it
    MODEL_IDLE_TIMEOUT_MS: '600000',
  }),
)
const { url, readStored } = compose
const pick = () => url

const listContainers = async (service: string) => {
  const lines = (await compose.sh(`docker compose ps --format '{{.Name}} {{.Health}}' ${service}`)).trim().split('\n')
  return lines.map((line) => line.split(' '))
}
/** Returns how many log lines match, per replica. */
const countByReplica = async (service: string, words: string) => {
  const counts = new Map<string, number>()
  for (const line of (await compose.sh(`docker compose logs --no-color ${service}`)).split('\n')) {
    const [replica = ''] = line.split(' ')
    if (line.includes(words)) counts.set(replica, (counts.get(replica) ?? 0) + 1)
  }
  return counts
}
/** Returns the highest number of connections from PgBouncer to Postgres during some work, sampled twice per second. */
const countServerConnections = async (work: Promise<unknown>) => {
  const watch = compose.start(
    'exec',
    '-T',
    'pgbouncer',
    'sh',
    '-c',
    String.raw`echo 'show pools \watch 0.5' | psql -At`,
  )
  await work.finally(watch.stop)
  const pools = watch.readOutput().matchAll(/^sluice\|.*/gm)
  const samples = Array.from(pools, ([pool]) => sum(pool.split('|').slice(6, 13).map(Number))) // sv_active to sv_login
  expect(samples.length).toBeGreaterThan(1)
  return Math.max(...samples)
}

it('become healthy behind one port', async () => {
  const healths = [...(await listContainers('api')), ...(await listContainers('worker'))].map(([, health]) => health)
  expect(healths).toEqual(Array(4).fill('healthy'))
  expect((await fetch(`${url}/health/ready`)).status).toBe(200)
})

it('share the requests, with at most 20 connections to Postgres', async ({ annotate }) => {
  const chats = Array.from({ length: 100 }, (_, number) => createChat(`shared-${number}`, 50))
  const before = await countByReplica('api', '"answer ended"')
  const countEnded = async () =>
    [...(await countByReplica('api', '"answer ended"'))].map(([replica, count]) => count - (before.get(replica) ?? 0))
  const connections = await countServerConnections(Promise.all(chats.map((chat) => startChat(pick, chat))))
  expect(chats.filter((chat) => !isWhole(chat))).toEqual([])
  await expect.poll(async () => sum(await countEnded())).toBe(100) // the log is written a moment later
  const counts = await countEnded()
  expect(counts.length).toBe(2)
  expect(Math.min(...counts)).toBeGreaterThan(20)
  expect(connections).toBeLessThanOrEqual(20)
  await annotate(`100 chats at once: ${counts.join(', ')} a replica; ${connections} connections to Postgres`)
})

it("stream through the balancer at the model's pace", async () => {
  const before = model.stats().completed
  const message = '[mock tokens=20 interval=50]'
  const headers = { 'content-type': 'application/json' }
  const response = await fetch(`${url}/chat`, { method: 'POST', headers, body: JSON.stringify({ message }) })
  const reads: { words: string; isBeforeTheEnd: boolean }[] = []
  for await (const words of response.body?.pipeThrough(new TextDecoderStream()) ?? [])
    reads.push({ words, isBeforeTheEnd: model.stats().completed === before })
  const withWords = reads.filter(({ words }) => words.includes('"text-delta"'))
  expect(withWords.length).toBeGreaterThan(10)
  expect(withWords.filter(({ isBeforeTheEnd }) => isBeforeTheEnd).length).toBeGreaterThan(10)
})

it('cancel the model request when a client of /v1 disconnects from the balancer', async () => {
  const { aborted } = model.stats()
  const leaving = new AbortController()
  const body = {
    model: 'mock',
    stream: true,
    messages: [{ role: 'user', content: '[mock tokens=1000 interval=50]' }],
  }
  const init = { method: 'POST', headers: { 'content-type': 'application/json' }, body: JSON.stringify(body) }
  const response = await fetch(`${url}/v1/chat/completions`, { ...init, signal: leaving.signal })
  await response.body?.getReader().read()
  leaving.abort()
  await expect.poll(() => model.stats().aborted).toBe(aborted + 1)
})

it('accept a file of 20 MB through the balancer', async () => {
  const form = new FormData()
  form.set('file', new Blob(['A line of a large file.\n'.repeat(870_000)], { type: 'text/plain' }), 'large.txt')
  const response = await fetch(`${url}/documents`, { method: 'POST', body: form })
  // The largest file that the API accepts. The API itself reports that its text is too long for one document.
  expect([202, 413]).toContain(response.status)
  expect(await response.json()).not.toMatchObject({ code: 'unavailable' })
})

it("ignore a client's claim that it used TLS", async () => {
  const headers = { 'x-forwarded-proto': 'https', 'x-forwarded-for': '192.0.2.1' }
  const response = await fetch(`${url}/health/live`, { headers })
  expect(response.headers.get('strict-transport-security')).toBeNull()
})

it('follow and stop an answer that another replica generates', async () => {
  const chat = createChat('followed', 500, { hold: 100 })
  const asked = startChat(pick, chat)
  await expect.poll(() => chat.text).not.toBe('')
  const followers = Array.from({ length: 8 }, () => ({ text: '' }))
  const followed = followers.map((follower) => resume(url, nobody, chat.id, follower))
  await expect.poll(() => followers.filter(({ text }) => text !== '').length).toBe(8)
  expect((await stop(url, nobody, chat.id)).status).toBe(204)
  await Promise.all([asked, ...followed])
  const { content, status } = await readStored(chat.id)
  expect(status).toBe('stopped')
  expect([chat, ...followers].map(({ text }) => text)).toEqual(Array(9).fill(content))
  const countReplicas = async () => (await countByReplica('api', '"/chat/:id/stream"')).size
  await expect.poll(countReplicas).toBe(2) // the log is written a moment later
})

it('recover from a kill: its clients reconnect once, and others notice nothing', async ({ annotate }) => {
  const startedBefore = model.stats().started
  const begun = Array.from({ length: 20 }, (_, number) => createChat(`killed-${number}`, 200, { hold: 100 }))
  const silent = Array.from({ length: 8 }, (_, number) => createChat(`silent-${number}`, 5, { hold: 0 }))
  const chats = [...begun, ...silent]
  const [[victim = ''] = []] = await listContainers('api')
  onTestFinished(async () => void (await compose.sh(`docker start ${victim} && docker compose up --detach --wait`)))
  const asked = chats.map((chat) => startChat(pick, chat))
  await expect.poll(() => model.stats().started - startedBefore).toBe(chats.length)
  await expect.poll(() => model.stats().held).toBe(chats.length)
  await compose.sh(`docker kill ${victim}`)
  model.release()
  await Promise.all(asked)
  const broken = begun.filter(({ failure }) => failure)
  const unanswered = silent.filter(({ status }) => status === 502)
  const cut = [...broken, ...unanswered]
  expect(broken.length).toBeGreaterThan(0)
  expect(unanswered.length).toBeGreaterThan(0)
  expect(cut.length).toBeLessThan(chats.length * 0.75)
  expect(chats.filter((chat) => !cut.includes(chat) && !isWhole(chat))).toEqual([])
  expect(model.stats().started - startedBefore).toBe(chats.length) // the balancer has retried nothing

  await Promise.all(cut.map((chat) => reconnect(pick, chat)))
  for (const chat of cut) await expectAllThatIsStored(chat)
  // The balancer's log reports the lost connections, but no URL.
  const log = await compose.sh('docker compose logs --no-log-prefix balancer')
  expect(log).toContain('aborting with incomplete response')
  expect(log).not.toMatch(/\/chat|\/conversations|"uri"|authorization/i)
  await annotate(
    `docker kill of 1 of 2: ${chats.length - cut.length} of ${chats.length} answers whole, ${cut.length} reconnected once, ${unanswered.length} of them before the first word`,
  )
})

it('both workers process documents from the queue', async () => {
  const countEnded = () => countByReplica('worker', '"job ended"')
  const before = await countEnded()
  const post = (number: number) =>
    send(`${url}/documents`, nobody, { title: `Memo ${number}`, text: `Memo ${number}. `.repeat(2000) })
  const statuses: (number | undefined)[] = []
  /** A worker that is busy enough leaves documents to the other one. */
  const haveBoth = async () => {
    const posted = await Promise.all(Array.from({ length: 8 }, (_, index) => post(statuses.length + index)))
    statuses.push(...posted.map(({ status }) => status))
    const after = await countEnded()
    const counts = [...after].map(([worker, count]) => count - (before.get(worker) ?? 0))
    return counts.length === 2 && counts.every((count) => count > 0)
  }
  await expect.poll(haveBoth, { interval: 1000 }).toBe(true)
  expect(statuses).toEqual(statuses.map(() => 202))
})

it('are replaced one by one with the commands of docs/deployment.md: no request fails', async ({ annotate }) => {
  const startedBefore = model.stats().started
  const people = startPeople({ pick })
  onTestFinished(people.stop)
  const { chats } = people
  const untilAnswered = (count: number) => expect.poll(() => chats.filter(isWhole).length).toBeGreaterThanOrEqual(count)
  await untilAnswered(12)
  const listIds = async () => (await compose.sh('docker compose ps --quiet api')).trim().split('\n')
  const before = await listIds()
  const [build = '', migrate = '', ...rest] = readCommands(readSection('A new version'))
  expect([build, migrate]).toEqual(['docker compose build', 'docker compose run --rm migrate'])
  await compose.sh(rest.join('\n').replace('api=5', 'api=3')) // one more than there are
  await untilAnswered(chats.filter(isWhole).length + 12)
  await people.stop()

  const cut = chats.filter(({ urls }) => urls.length > 1)
  const after = await listIds()
  expect(after).toHaveLength(2)
  expect(after.filter((id) => before.includes(id))).toEqual([])
  expect(people.takeFailures()).toEqual([])
  expect(chats.filter((chat) => !cut.includes(chat) && !isWhole(chat))).toEqual([])
  for (const chat of cut) await expectAllThatIsStored(chat)
  expect(model.stats().started - startedBefore).toBe(chats.length) // no request was sent twice
  await annotate(
    `replaced one by one: ${people.countRequests()} requests, none failed; ${cut.length} answers cut by the drain`,
  )
})

/** Whether an answer ended early, its client was informed, and the client has all of its text. */
async function expectAllThatIsStored(chat: Chat) {
  const { content, status } = await readStored(chat.id)
  expect({ ...chat, status: chat.status }).toMatchObject({ status: 200, end: 'interrupted' })
  expect(chat.failure).toBeUndefined()
  expect(status).toBe('interrupted')
  expect(chat.text.startsWith(content)).toBe(true)
}
