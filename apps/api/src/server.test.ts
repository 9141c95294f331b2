import { once } from 'node:events'
import { readFileSync } from 'node:fs'
import { Agent, get } from 'node:http'
import { createServer } from 'node:net'
import { connect, createStore } from '@repo/db'
import { createTestDatabase } from '@repo/db/testing'
import { isAlive, runProgram, startApi, startScriptedServer, until } from '@repo/testing/processes'
import { openTcpProxy } from '@repo/testing/tcp-proxy'
import { joinText, type Part, post, streamParts } from '@repo/testing/ui-stream'
import { afterAll, describe, expect, it, onTestFinished } from 'vitest'

const test = await createTestDatabase()
const DATABASE_URL = test.databaseUrl
const database = connect({ url: DATABASE_URL, poolSize: 2 })
const store = createStore(database.db)
const owner = await store.owners.ensure('local')

afterAll(async () => {
  await database.close()
  await test.drop()
})

const statusOf = async (url: string) => (await fetch(url).catch(() => undefined))?.status
const readAnswer = async (conversationId: string) =>
  (await store.conversations.read(owner, conversationId, 1))?.messages[0]
type Api = Awaited<ReturnType<typeof startApi>>
const pidsOf = (api: Api) => [...new Set(api.logs().map(({ pid }) => pid))]
const asModule = (source: string) => ['--import', `data:text/javascript,${encodeURIComponent(source)}`]

/** Sends a question and lets the model stream `text`. Returns the answer's parts as they arrive. */
async function converse(api: Api, vendor: Awaited<ReturnType<typeof startScriptedServer>>, text: string) {
  const conversationId = crypto.randomUUID()
  const asked = post(`${api.url}/chat`, {}, { message: 'Go on?', conversationId })
  const answer = await vendor.takeAnswer()
  answer.say(text)
  const parts: Part[] = []
  const read = async () => {
    for await (const part of streamParts(await asked)) parts.push(part)
  }
  const done = read()
  done.catch(() => {}) // tests that abort the stream assert something else
  await until(() => joinText(parts) === text)
  return { conversationId, answer, parts, done }
}

it('starts with little memory, because its packages are bundled', async ({ annotate }) => {
  const startedAt = performance.now()
  const { child, url } = await startApi({ DATABASE_URL })
  await fetch(`${url}/health/live`)
  const readyMs = performance.now() - startedAt
  const memoryMb = Number(readFileSync(`/proc/${child.pid}/status`, 'utf8').match(/VmRSS:\s*(\d+)/)?.[1]) / 1024
  const ticks = readFileSync(`/proc/${child.pid}/stat`, 'utf8').split(' ').slice(13, 15).map(Number) // of 10 ms
  const cpuMs = 10 * ticks.reduce((sum, count) => sum + count, 0)
  await annotate(`live after ${readyMs.toFixed(0)} ms, ${cpuMs} ms of CPU, ${memoryMb.toFixed(0)} MB`)
  expect(memoryMb).toBeLessThan(150) // from source 175
})

describe('a server that cannot start', () => {
  it.each([
    ['DATABASE_URL', 'is not set', { DATABASE_URL: '' }],
    ['PORT', 'must be a whole number', { PORT: 'http' }],
    ['HOST', 'is not an address of this machine', { HOST: '192.0.2.1' }],
    [
      'The chat model a',
      'has the unknown api "soap"\\. Leave it out\\.',
      {
        ...{ CHAT_MODEL: 'a', OPENAI_BASE_URL: 'http://127.0.0.1:9/v1' },
        CHAT_MODELS: '[{"name":"a","api":"soap"}]',
      },
    ],
  ])('prints one line: %s %s', async (name, problem, env) => {
    const { code, out, err } = await runProgram('apps/api/dist/server.js', { DATABASE_URL, ...env })
    expect(err).toMatch(new RegExp(`^${name} ${problem}.*\n$`))
    expect({ code, out }).toEqual({ code: 1, out: '' })
  })

  it.each(['1', '2'])('prints one line when PORT is in use, with %s processes', async (count) => {
    const other = createServer().listen(0, '127.0.0.1')
    await once(other, 'listening')
    onTestFinished(() => void other.close())
    const address = other.address()
    const PORT = String(typeof address === 'object' ? address?.port : '')
    const { code, out, err } = await runProgram('apps/api/dist/server.js', {
      DATABASE_URL,
      PORT,
      WEB_CONCURRENCY: count,
    })
    expect(err).toMatch(/^PORT is already in use\. .*\n$/)
    expect({ code, out }).toEqual({ code: 1, out: '' })
  })
})

it('starts without a database, and is ready once the database responds', async () => {
  const gate = await openTcpProxy()
  await gate.shut()
  const url = new URL(DATABASE_URL)
  url.host = gate.host
  const api = await startApi({ DATABASE_URL: url.href })
  expect(await statusOf(`${api.url}/health/live`)).toBe(200)
  expect(await statusOf(`${api.url}/health/ready`)).toBe(503)
  await gate.open()
  onTestFinished(gate.shut)
  await until(async () => (await statusOf(`${api.url}/health/ready`)) === 200)
  expect(pidsOf(api)).toEqual([api.child.pid])
})

const one = { DATABASE_URL }
const two = { DATABASE_URL, WEB_CONCURRENCY: '2' }

describe('on a stop signal', () => {
  it.each([
    ['SIGTERM', 'one process', one],
    ['SIGINT', 'one process', one],
    ['SIGTERM', 'two workers', two],
    ['SIGINT', 'two workers', two],
  ] as const)('%s: %s finish running answers, reject new ones and exit with 0', async (signal, _, env) => {
    const vendor = await startScriptedServer()
    const api = await startApi({ ...env, ...vendor.env })
    const { conversationId, answer, parts, done } = await converse(api, vendor, 'one')
    if (signal === 'SIGTERM') api.child.kill(signal)
    else for (const pid of new Set([api.child.pid ?? 0, ...pidsOf(api)])) process.kill(pid, signal) // as a terminal does
    await until(async () => (await statusOf(`${api.url}/health/ready`)) === 503)
    const refused = await post(`${api.url}/chat`, {}, { message: 'And I?' }).catch(() => undefined)
    expect(refused?.status ?? 503).toBe(503)
    answer.say(', two')
    answer.end()
    await done
    expect(joinText(parts)).toBe('one, two')
    expect(parts.slice(-3).map(({ type }) => type)).toEqual(['text-end', 'finish', '[DONE]'])
    expect(await api.ended).toBe(0)
    expect(pidsOf(api).filter(isAlive)).toEqual([])
    expect(await readAnswer(conversationId)).toMatchObject({ status: 'complete', content: 'one, two' })
  })

  it('interrupts an answer that exceeds DRAIN_TIMEOUT_MS, and stores its text so far', async () => {
    const vendor = await startScriptedServer()
    const api = await startApi({ ...one, DRAIN_TIMEOUT_MS: '200', ...vendor.env })
    const { conversationId, parts, done } = await converse(api, vendor, 'one')
    api.child.kill('SIGTERM')
    await done
    const [, abort] = parts.slice(-3)
    expect(parts.slice(-3).map(({ type }) => type)).toEqual(['text-end', 'abort', '[DONE]'])
    expect(abort).toMatchObject({ reason: 'interrupted' })
    expect(await api.ended).toBe(0)
    expect(await readAnswer(conversationId)).toMatchObject({ status: 'interrupted', content: 'one' })
  })

  it.each([
    ['one process', one],
    ['two workers', two],
  ])('sent twice, %s do not wait for answers', async (_, env) => {
    const vendor = await startScriptedServer()
    const api = await startApi({ ...env, DRAIN_TIMEOUT_MS: '3600000', ...vendor.env })
    const { done } = await converse(api, vendor, 'one')
    const broken = expect(done).rejects.toThrow()
    api.child.kill('SIGINT')
    await until(async () => (await statusOf(`${api.url}/health/ready`)) === 503)
    api.child.kill('SIGINT')
    await broken
    await api.ended
    expect(pidsOf(api).filter(isAlive)).toEqual([])
  })

  it('does not wait for idle sockets, although their timeout is 72 s', async () => {
    const api = await startApi(one)
    const agent = new Agent({ keepAlive: true })
    onTestFinished(() => agent.destroy())
    for (let opened = 0; opened < 3; opened += 1) get(`${api.url}/health/live`, { agent }, (answer) => answer.resume())
    await until(() => Object.values(agent.freeSockets).flat().length === 3)
    api.child.kill('SIGTERM')
    expect(await api.ended).toBe(0) // a test has 20 s
  })
})

it('exits with 1 after an uncaught exception, and logs no secrets', async () => {
  const hook = `process.on('SIGUSR1', () => { throw new Error('password=hunter' + 2) })`
  const api = await startApi(one, asModule(hook))
  api.child.kill('SIGUSR1')
  expect(await api.ended).toBe(1)
  expect(api.logs().at(-1)).toMatchObject({ level: 60, msg: 'fatal error, exiting', error: { name: 'Error' } })
  expect(api.written.out + api.written.err).not.toContain('hunter2')
})

describe('two workers', () => {
  const pidsThat = (api: Api, message: string) =>
    new Set(api.logs().flatMap(({ msg, pid }) => (msg === message ? pid : [])))
  const start = async (nodeOptions: string[] = []) => {
    const api = await startApi(two, nodeOptions)
    const [first = 0, second = 0] = await until(() => {
      const listening = pidsThat(api, 'listening')
      return listening.size === 2 && listening
    })
    return { api, first, second }
  }
  /** Opens a new connection per request, so any worker may handle it. */
  const ask = async ({ url }: Api) => {
    const [answer] = await once(get(`${url}/health/live`, { agent: false }), 'response')
    answer.resume()
    return answer.statusCode === 200
  }

  it('share one port; a killed worker is replaced while requests continue', async () => {
    const { api, first, second } = await start()
    await until(async () => (await ask(api)) && pidsThat(api, 'request ended').size === 2)
    process.kill(first, 'SIGKILL')
    await until(() => !isAlive(first))
    for (let asked = 0; asked < 5; asked += 1) expect(await ask(api)).toBe(true)
    await until(async () => (await ask(api)) && pidsThat(api, 'request ended').size === 3)
    const [, , third = 0] = pidsThat(api, 'listening')
    expect(new Set([api.child.pid, first, second, third]).size).toBe(4)
    api.child.kill('SIGTERM')
    expect(await api.ended).toBe(0)
    expect([first, second, third].filter(isAlive)).toEqual([])
  })

  it('remain two when a replacement crashes before it listens', async () => {
    const hook = `import cluster from 'node:cluster'
      if (cluster.worker?.id === 3) process.exit(3)`
    const { api, first, second } = await start(asModule(hook))
    process.kill(first, 'SIGKILL')
    await until(() => pidsThat(api, 'listening').size === 3)
    expect(isAlive(second)).toBe(true)
    api.child.kill('SIGTERM')
    expect(await api.ended).toBe(0)
  })

  it('exit when the primary is killed', async () => {
    const { api, first, second } = await start()
    api.child.kill('SIGKILL')
    expect(await api.ended).toBeNull()
    await until(() => !isAlive(first) && !isAlive(second))
  })

  it('stop with the exit code of a worker that fails to start', async () => {
    const hook = `import cluster from 'node:cluster'
      if (cluster.worker?.id === 2) process.exit(3)`
    const api = await startApi(two, asModule(hook))
    expect(await api.ended).toBe(3)
    expect(pidsOf(api).filter(isAlive)).toEqual([])
  })
})

it('marks the answer of a killed process as interrupted, and keeps its stored text', async (context) => {
  if (!process.env.SLUICE_FULL) context.skip('needs npm test -- --full')
  const vendor = await startScriptedServer()
  const api = await startApi({ ...one, ...vendor.env })
  const { conversationId } = await converse(api, vendor, 'one')
  await until(async () => (await readAnswer(conversationId))?.content === 'one')
  api.child.kill('SIGKILL')
  await startApi(one)
  expect(await readAnswer(conversationId)).toMatchObject({ status: 'streaming' })
  await until(async () => (await readAnswer(conversationId))?.status === 'interrupted')
  const { messages = [] } = (await store.conversations.read(owner, conversationId, 10)) ?? {}
  expect(messages.map(({ content }) => content)).toEqual(['one', 'Go on?'])
})
