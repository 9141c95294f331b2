import { createTestDatabase } from '@repo/db/testing'
import { startMockModel } from '@repo/testing/mock-model'
import { startApi, startCollector } from '@repo/testing/processes'
import { post } from '@repo/testing/ui-stream'
import { afterAll, expect, it } from 'vitest'

const test = await createTestDatabase()
const mock = await startMockModel()
afterAll(async () => {
  await mock.close()
  await test.drop()
})
const collector = await startCollector()
const env = { DATABASE_URL: test.databaseUrl, OPENAI_BASE_URL: mock.url, CHAT_MODEL: 'mock' }

/**
 * Returns the CPU time per chat and per token in the API process, in µs. Tokens arrive as slowly as from a real model.
 */
async function measure(tracing: Record<string, string>) {
  const api = await startApi({ ...env, ...tracing })
  const cpu = async () => {
    const text = await (await fetch(`${api.url}/metrics`)).text()
    return 1e6 * Number(/^process_cpu_seconds_total (\S+)$/m.exec(text)?.[1])
  }
  const run = async (chats: number, atOnce: number, settings: string) => {
    let left = chats
    const ask = async () => {
      while (left > 0) {
        left -= 1
        await (await post(`${api.url}/chat`, {}, { message: `[mock ${settings}] Go on?` })).text()
      }
    }
    const before = await cpu()
    await Promise.all(Array.from({ length: atOnce }, ask))
    return ((await cpu()) - before) / chats
  }
  await run(200, 10, 'tokens=1') // warm-up: compiles the code
  const chat = await run(300, 10, 'tokens=1')
  const long = await run(50, 50, 'tokens=150 interval=20')
  api.child.kill('SIGTERM')
  await api.ended
  return { chat, token: (long - chat) / 150 }
}

it('a chat and a token, with tracing and without', async ({ annotate, skip }) => {
  if (!process.env.SLUICE_FULL) skip('needs npm test -- --full')
  const tell = async (name: string, tracing: Record<string, string>) => {
    const { chat, token } = await measure(tracing)
    return `tracing ${name}: ${chat.toFixed(0)} µs of CPU a chat, ${token.toFixed(0)} a token`
  }
  await annotate(`${await tell('off', {})}; ${await tell('on', collector.env)}`)
  expect(collector.spans().length).toBeGreaterThan(2500) // five per chat
})
