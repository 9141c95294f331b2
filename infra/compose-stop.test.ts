import { afterAll, expect, it } from 'vitest'
import { mockAnswer, startMockModel } from '../packages/testing/src/mock-model/mock-model.ts'
import { ask, type Reading } from './testing-chats.ts'
import { useCompose } from './testing-compose.ts'

// `docker compose stop` while an answer is running.

const model = await startMockModel({ host: '0.0.0.0' }) // containers use another address of this machine
afterAll(model.close)
const mock = { OPENAI_BASE_URL: model.url.replace('127.0.0.1', 'host.docker.internal'), CHAT_MODEL: 'mock' }
const compose = await useCompose(({ up }) => up(mock))

/** Asks a question and stops one service, or all of them, when the answer has begun. Starts them again afterwards. */
async function stopInMidAnswer(service: string, conversationId: string, message: string) {
  const reading: Reading = { text: '' }
  const answer = ask(compose.url, { headers: {} }, { message, conversationId }, reading)
  await expect.poll(() => reading.text).not.toBe('')
  const startedAt = performance.now()
  await compose.sh(`docker compose stop ${service}`)
  const seconds = ((performance.now() - startedAt) / 1000).toFixed(1)
  const exitCode = (await compose.sh("docker compose ps --all --format '{{.ExitCode}}' api")).trim()
  await answer
  await compose.sh(`docker compose start ${service}`)
  await compose.becomeReady()
  return { ...reading, exitCode, seconds, stored: await compose.readStored(conversationId) }
}

it('a running answer is completed', async ({ annotate }) => {
  const question = '[mock tokens=100 interval=50] Tell me more.'
  await compose.up(mock)
  const { text, end, failure, exitCode, seconds, stored } = await stopInMidAnswer('', 'drained', question)
  expect({ failure, end, exitCode }).toEqual({ failure: undefined, end: 'complete', exitCode: '0' })
  expect(text).toBe(mockAnswer(question, 100))
  expect(stored).toMatchObject({ status: 'complete', content: text })
  await annotate(`docker compose stop in an answer of 5 s: ${seconds} s, exit code 0, 100 of 100 tokens, stored`)
})

it('an answer that takes longer than DRAIN_TIMEOUT_MS is interrupted, and its reader is informed', async () => {
  const question = '[mock tokens=100000 interval=50] Tell me all.' // over an hour
  await compose.up({ ...mock, DRAIN_TIMEOUT_MS: '500' })
  const { text, end, failure, exitCode, stored } = await stopInMidAnswer('api', 'interrupted', question)
  expect({ failure, end, exitCode }).toEqual({ failure: undefined, end: 'interrupted', exitCode: '0' })
  expect(stored.status).toBe('interrupted')
  expect(stored.content).not.toBe('')
  expect(text.startsWith(stored.content)).toBe(true)
})
