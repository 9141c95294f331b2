import { setTimeout as sleep } from 'node:timers/promises'
import { mockAnswer, startMockModel } from '@repo/testing/mock-model'
import { startApi } from '@repo/testing/processes'
import { afterAll, expect, it } from 'vitest'
import { testApp } from '../src/testing.ts'
import {
  ask,
  expectPrefix,
  readEvents,
  readMessages,
  type StoredMessage,
  type ToolChat,
  toUiParts,
} from './testing-tool-chats.ts'

// `kill -9` of the API at random moments of answers that search twice. The tool waits for the embedder.

const isFull = Boolean(process.env.SLUICE_FULL)
const [lanes, killsPerLane, chatsPerKill] = [4, isFull ? 10 : 3, 3] // processes that are killed independently
const longestMs = 3000 // an answer takes about 2 s, so that some are complete before the kill
const [tokens, calls] = [40, 2]
const settings = `[mock calls=${calls} reasoning=3 tokens=${tokens} interval=25 delay=60]`

const mock = await startMockModel()
afterAll(mock.close)
const models = { OPENAI_BASE_URL: mock.url, CHAT_MODEL: 'mock', EMBEDDING_MODEL: 'mock-embed-384?delay=200' }
const { app, test, alice, work, close } = await testApp({ environment: models })
afterAll(close)
const payload = { title: 'Gates', text: 'The gates close at high tide.' }
await app.inject({ method: 'POST', url: '/documents', headers: alice, payload })
await work()
const env = { ...models, DATABASE_URL: test.databaseUrl, AUTH: 'required', RETRIEVAL: 'tool' }
const start = () => startApi(env)

/** Starts a process, asks, and kills the process at a random moment. Returns the chats when their clients have noticed. */
async function askAndKill(lane: number, round: number): Promise<ToolChat[]> {
  const { url, child, ended } = await start()
  const killed = sleep(Math.random() * longestMs)
  const chats = Array.from({ length: chatsPerKill }, async (_, index): Promise<ToolChat> => {
    const id = `${lane}-${round}-${index}`
    const chat: ToolChat = { id, message: `When do the gates close? ${id} ${settings}`, received: '' }
    await Promise.race([sleep(Math.random() * 300), killed])
    await ask(url, alice, chat)
    return chat
  })
  await killed
  child.kill('SIGKILL')
  await ended
  return Promise.all(chats)
}

async function runLane(_: unknown, lane: number): Promise<ToolChat[]> {
  const chats: ToolChat[] = []
  for (let round = 0; round < killsPerLane; round += 1) chats.push(...(await askAndKill(lane, round)))
  return chats
}

/** Returns what an answer was doing when its process was killed. */
function findStage(chat: ToolChat): string {
  const last = readEvents(chat).at(-1)?.type ?? 'nothing received'
  if (/^(start-step|reasoning-.*|tool-input-(start|delta))$/.test(last)) return 'model call'
  return { 'tool-input-available': 'tool call', 'text-delta': 'text', finish: 'complete' }[last] ?? last
}

function count(names: string[]): Record<string, number> {
  const counts: Record<string, number> = {}
  for (const name of names) counts[name] = (counts[name] ?? 0) + 1
  return counts
}

/** Compares an answer that began with what is stored. Returns whether all that was received is stored. */
async function check(chat: ToolChat, [question, answer]: StoredMessage[]): Promise<boolean> {
  const events = readEvents(chat)
  const { messageId } = events[0] ?? {}
  if (chat.status === undefined && question === undefined) return true // the process was killed before
  expect(chat.status ?? 200).toBe(200)
  expect(question).toMatchObject({ role: 'user', content: chat.message })
  expect(answer?.status).toMatch(/^(complete|interrupted)$/)
  expect(mockAnswer(chat.message, tokens).startsWith(answer?.content ?? '-')).toBe(true)
  if (messageId === undefined || !answer) return answer?.parts.length === 0
  expect(answer.id).toBe(messageId)
  const received = await toUiParts(events)
  expectPrefix(answer.parts, received)
  const isWhole = events.at(-1)?.type === 'finish'
  if (isWhole) expect(answer).toMatchObject({ status: 'complete', content: mockAnswer(chat.message, tokens) })
  if (isWhole) expectPrefix(received, answer.parts)
  return received.length === answer.parts.length
}

it('a killed process loses no question, stores no part that was not sent, and blocks no conversation', async ({
  annotate,
}) => {
  const byLane = await Promise.all(Array.from({ length: lanes }, runLane))
  const chats = byLane.flat()
  const { url } = await start()
  const latest = byLane.flatMap((chats) => chats.slice(-12)) // the others ended long before
  const isRunning = async ({ id }: ToolChat) =>
    (await readMessages(url, alice, id)).some(({ status }) => status === 'streaming')
  await expect.poll(async () => (await Promise.all(latest.map(isRunning))).includes(true)).toBe(false)
  const stored: StoredMessage[][] = []
  for (const chat of chats) stored.push(await readMessages(url, alice, chat.id))
  const lengths = await Promise.all(chats.map((chat, index) => check(chat, stored[index] ?? [])))

  const next = chats.map(({ id }): ToolChat => ({ id, message: 'And then? [mock calls=1 tokens=1]', received: '' }))
  for (let from = 0; from < next.length; from += 20) {
    await Promise.all(next.slice(from, from + 20).map((chat) => ask(url, alice, chat)))
  }
  expect(next.filter((chat) => readEvents(chat).at(-1)?.type !== 'finish')).toEqual([])

  const stages = count(chats.map(findStage))
  const statuses = count(stored.map((messages) => messages.at(-1)?.status ?? 'not stored'))
  await annotate(
    `${lanes * killsPerLane} kills of ${chats.length} chats during ${JSON.stringify(stages)}; stored ` +
      `${JSON.stringify(statuses)}, ${lengths.filter(Boolean).length} with all their parts`,
  )
  // The test was effective: these are the stages that a kill can hit for long.
  if (isFull) expect(Object.keys(stages)).toEqual(expect.arrayContaining(['model call', 'tool call', 'text']))
})
