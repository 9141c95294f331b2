import { setTimeout as sleep } from 'node:timers/promises'
import { startMockModel } from '@repo/testing/mock-model'
import { startApi } from '@repo/testing/processes'
import { post } from '@repo/testing/ui-stream'
import { afterAll, expect, it } from 'vitest'
import { testApp } from '../src/testing.ts'

// `kill -9` of API processes at random moments, beside one that goes on. The mock model counts the answers that it has
// completed for each. Alice asks the process that goes on, Bob the others.

const isFull = Boolean(process.env.SLUICE_FULL)
const kills = isFull ? 10 : 3
const longestMs = 7000
const lanes = 4 // questions at once
const tokens = 7
const lateMs = 5000 // a process stores its counts once per second; on a busy machine it is late

const completed: Record<'alice' | 'bob', number[]> = { alice: [], bob: [] }
const mock = await startMockModel({
  answerInstead: (body, response) => {
    const who = JSON.stringify(body.messages).includes('Bob asks') ? 'bob' : 'alice'
    response.on('finish', () => completed[who].push(performance.now()))
    return false
  },
})
afterAll(mock.close)
const models = { OPENAI_BASE_URL: mock.url, CHAT_MODEL: 'mock', RETRIEVAL: 'off' }
const { app, test, alice, bob, close } = await testApp({ environment: models })
afterAll(close)
const env = { ...models, DATABASE_URL: test.databaseUrl, AUTH: 'required' }

/** Asks one question after the other in each lane, until told to stop or until the process is gone. */
async function askMany(url: string, headers: typeof alice, name: string, signal: AbortSignal): Promise<void> {
  const message = `${name} asks. [mock tokens=${tokens} interval=3]`
  const work = async () => {
    while (!signal.aborted) await (await post(`${url}/chat`, headers, { message })).text()
  }
  await Promise.all(Array.from({ length: lanes }, () => work().catch(() => {})))
}

async function readUsage(headers: typeof alice) {
  const { items } = (await app.inject({ url: '/usage?by=model', headers })).json()
  return items.at(0) ?? { requests: 0 }
}

/** Returns the usage of so many answers of the mock. */
const toUsage = (requests: number) => ({
  requests,
  inputTokens: 10 * requests,
  outputTokens: tokens * requests,
  estimated: 0,
})

it('usage equals the model’s own count, up to the last second of killed processes', async ({ annotate }) => {
  const asking = new AbortController()
  const survivor = await startApi(env)
  const alices = askMany(survivor.url, alice, 'Alice', asking.signal)
  let atLeast = 0
  for (let kill = 0; kill < kills; kill += 1) {
    const { url, child, ended } = await startApi(env)
    const before = completed.bob.length
    const bobs = askMany(url, bob, 'Bob', asking.signal)
    await sleep(Math.random() * longestMs)
    child.kill('SIGKILL')
    const killedAt = performance.now()
    await Promise.all([ended, bobs])
    atLeast += completed.bob.slice(before).filter((time) => time < killedAt - lateMs).length
  }
  asking.abort()
  await alices
  survivor.child.kill('SIGTERM')
  await survivor.ended

  expect(await readUsage(alice)).toMatchObject(toUsage(completed.alice.length))
  const bobs = await readUsage(bob)
  expect(bobs).toMatchObject(bobs.requests > 0 ? toUsage(bobs.requests) : {})
  expect(bobs.requests).toBeGreaterThanOrEqual(atLeast)
  expect(bobs.requests).toBeLessThanOrEqual(completed.bob.length)
  await annotate(
    `usage after ${kills} kills: ${bobs.requests} of ${completed.bob.length} answers of killed processes, ` +
      `${completed.alice.length} of ${completed.alice.length} of the one that went on`,
  )
})
