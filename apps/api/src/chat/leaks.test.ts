import { randomUUID } from 'node:crypto'
import { connect, createStore } from '@repo/db'
import { createTestDatabase } from '@repo/db/testing'
import { startApi, startScriptedServer, until } from '@repo/testing/processes'
import { post, readDelta, streamParts } from '@repo/testing/ui-stream'
import { afterAll, expect, it } from 'vitest'
import { z } from 'zod'

const test = await createTestDatabase()
const database = connect({ url: test.databaseUrl, poolSize: 2 })
const store = createStore(database.db)
const owner = await store.owners.ensure('local')
afterAll(async () => {
  await database.close()
  await test.drop()
})

const rounds = process.env.SLUICE_FULL ? 14 : 2
const clientsAtOnce = 25 // more clients come in waves: a busy machine would reject some as overload

/** Reports what the process holds after garbage collection. */
const probe = `process.on('SIGUSR1', () => {
  globalThis.gc()
  const resources = process.getActiveResourcesInfo()
  const count = (type) => resources.filter((resource) => resource === type).length
  const held = { timers: count('Timeout'), sockets: count('TCPSocketWrap'), heap: process.memoryUsage().heapUsed }
  console.log(JSON.stringify({ msg: 'held', level: 30, pid: process.pid, ...held }))
})`
const Held = z.object({ timers: z.int(), sockets: z.int(), heap: z.int() })

it('clients that connect and disconnect leak no timer, socket or memory', async ({ annotate }) => {
  const vendor = await startScriptedServer()
  const options = ['--expose-gc', '--import', `data:text/javascript,${encodeURIComponent(probe)}`]
  const api = await startApi({ DATABASE_URL: test.databaseUrl, DATABASE_POOL_SIZE: '5', ...vendor.env }, options)

  let probes = 0
  const readHeld = async () => {
    api.child.kill('SIGUSR1')
    probes += 1
    return Held.parse(await until(() => api.logs().filter(({ msg }) => msg === 'held')[probes - 1]))
  }

  /** Asks a question and waits for the first word of the answer. */
  const begin = async (signal: AbortSignal) => {
    const conversationId = randomUUID()
    const pending = post(`${api.url}/chat`, {}, { message: 'a question', conversationId }, signal)
    const answer = await vendor.takeAnswer()
    answer.say('half')
    await readDelta(streamParts(await pending))
    return { conversationId, answer }
  }
  const follow = async (conversationId: string, signal: AbortSignal) =>
    expect((await fetch(`${api.url}/chat/${conversationId}/stream`, { signal })).status).toBe(200)

  const elsewhere = { conversationId: 'elsewhere', answerId: 'a' }
  await store.turns.open(owner, { ...elsewhere, title: 'a title', questionId: 'q', question: 'a question' })

  /** Runs three kinds of readers: of a new answer, of one of this process, and of one of another process. */
  const comeAndVanish = async () => {
    await store.answers.saveProgress([{ ...elsewhere, owner, start: 0, parts: [] }]) // else it counts as abandoned
    const vanish = new AbortController()
    const begun = await Promise.all(Array.from({ length: clientsAtOnce }, () => begin(vanish.signal)))
    await Promise.all(begun.map(({ conversationId }) => follow(conversationId, vanish.signal)))
    await Promise.all(begun.map(() => follow('elsewhere', vanish.signal)))
    const crowded = await readHeld()
    vanish.abort()
    for (const { answer } of begun) answer.end()
    return crowded
  }

  const { timers } = await readHeld()
  const settle = () =>
    until(async () => {
      const held = await readHeld()
      return held.timers < timers + 5 && held.sockets < clientsAtOnce && held // some are to the database and the model
    })

  await comeAndVanish() // warm-up: caches and compiled code
  const before = await settle()
  let crowded = before
  for (let round = 0; round < rounds; round += 1) crowded = await comeAndVanish()
  const after = await settle()

  const clients = rounds * clientsAtOnce * 3
  const growth = (after.heap - before.heap) / 1024
  await annotate(
    `${clients} clients that vanished: ${before.timers} timers before, ${crowded.timers} while ${3 * clientsAtOnce} were there, ${after.timers} after; ${before.sockets}, ${crowded.sockets}, ${after.sockets} sockets; heap ${growth.toFixed(0)} KiB more`,
  )
  expect(crowded.timers).toBeGreaterThanOrEqual(before.timers + clientsAtOnce)
  expect(crowded.sockets).toBeGreaterThanOrEqual(before.sockets + clientsAtOnce)
  expect(growth / clients).toBeLessThan(5) // KiB; a leaked response would be 20 or more
})
