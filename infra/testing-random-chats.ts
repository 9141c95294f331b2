import { setTimeout as sleep } from 'node:timers/promises'
import { expect } from 'vitest'
import { mockAnswer } from '../packages/testing/src/mock-model/mock-model.ts'
import type { Api } from './testing-apis.ts'
import { ask, type Client, get, type Reading, resume, stop } from './testing-chats.ts'

/** What must hold of an answer. `statuses` are those that are still possible; observations narrow them. */
export type Answer = {
  conversationId: string
  messageId: string | undefined
  question: string
  sent: string
  writer: Api
  wasKilled: boolean
  statuses: Set<string>
  readers: Reader[]
}
/** A reader of the answer. `mayBreak` is set when it has left or its process was killed. */
export type Reader = { api: Api; reading: Reading; controller: AbortController; mayBreak: boolean; isDone: boolean }
export type Headers = { authorization: string }
export type World = { name: string; random: Random; apis: Api[]; alice: Headers; bob: Headers; answers: Answer[] }

const endless = 3000 // tokens: five minutes, far longer than a sequence
const kinds = [
  [endless, 100],
  [20, 20],
  [5, 0],
] as const

type Random = ReturnType<typeof createRandom>

/** Returns a small pseudo-random number generator: mulberry32. */
export function createRandom(seed: number) {
  let state = seed
  const below = (limit: number): number => {
    state = (state + 0x6d2b79f5) | 0
    let mixed = Math.imul(state ^ (state >>> 15), 1 | state)
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)
    return ((mixed ^ (mixed >>> 14)) >>> 0) % limit
  }
  return {
    below,
    pick: <T>(items: readonly T[]): T => {
      const item = items[below(items.length)]
      if (item === undefined) throw new Error('there is nothing to pick from')
      return item
    },
  }
}

/** The actions of clients and the failures. A restart takes as long as everything else together. */
export const actions = [
  ...[send, send, send, send, send, readOn, readOn, readOn, readOn, readAnew, readAnew],
  ...[leave, leave, halt, halt, meddle, wait, wait, wait, kill],
]

/** Asks in a new conversation, or in one that may still be busy. */
async function send({ name, random, apis, alice, answers }: World): Promise<void> {
  const last = random.below(3) > 0 ? listLast(answers).at(-1 - random.below(3)) : undefined
  const conversationId = last?.conversationId ?? `${name}-${answers.length}`
  const [tokens, interval] = random.pick(kinds)
  const message = `${conversationId} ${answers.length} [mock tokens=${tokens} interval=${interval}]`
  const writer = random.pick(apis)
  const reader = open(writer, alice, { text: '' }, (client, reading) =>
    ask(writer.url, client, { message, conversationId }, reading),
  )
  const { reading } = reader
  await expect.poll(() => reading.messageId ?? reading.code ?? reading.failure).toBeDefined()
  if (reading.code) {
    expect(reading).toMatchObject({ status: 409, code: 'answer_running' })
    expect(last?.statuses).toContain('streaming')
    return
  }
  expect(reading.status).toBe(200)
  if (last) noteEnded(last)
  const statuses = new Set(tokens === endless ? ['streaming'] : ['streaming', 'complete'])
  const { messageId } = reading
  const sent = mockAnswer(message, tokens)
  answers.push({
    conversationId,
    messageId,
    question: message,
    sent,
    writer,
    wasKilled: false,
    statuses,
    readers: [reader],
  })
}

/** Resumes any answer from the position of one of its readers. */
async function readOn({ random, apis, alice, answers }: World): Promise<void> {
  const begun = answers.filter(({ readers }) => readers.some(({ reading }) => reading.lastEventId))
  if (begun.length === 0) return
  const { conversationId, readers } = random.pick(begun)
  const { text, lastEventId } = random.pick(readers.filter(({ reading }) => reading.lastEventId)).reading
  const api = random.pick(apis)
  const reader = open(api, alice, { text, ...(lastEventId && { lastEventId }) }, (client, reading) =>
    resume(api.url, client, conversationId, reading),
  )
  readers.push(reader)
  await untilAnswered(reader)
  expect(reader.reading.status).toBe(200)
}

/** Reads a conversation's running answer from its start, as after a page reload. */
async function readAnew({ random, apis, alice, answers }: World): Promise<void> {
  if (answers.length === 0) return
  const answer = random.pick(listLast(answers))
  const api = random.pick(apis)
  const reader = open(api, alice, { text: '' }, (client, reading) =>
    resume(api.url, client, answer.conversationId, reading),
  )
  await untilAnswered(reader)
  if (reader.reading.status === 204) return noteEnded(answer)
  expect(reader.reading.status).toBe(200)
  expect(answer.statuses).toContain('streaming')
  answer.readers.push(reader)
  await expect.poll(() => reader.reading.messageId).toBe(answer.messageId)
}

async function leave({ random, answers }: World): Promise<void> {
  if (answers.length === 0) return
  const reader = random.pick(random.pick(answers).readers)
  reader.mayBreak = true
  reader.controller.abort()
}

async function halt({ random, apis, alice, answers }: World): Promise<void> {
  if (answers.length > 0) await stopAnswer(random.pick(apis), alice, random.pick(listLast(answers)))
}

/** Checks that another owner who knows the ids sees and changes nothing. */
async function meddle({ random, apis, bob, answers }: World): Promise<void> {
  if (answers.length === 0) return
  const { conversationId, messageId } = random.pick(answers)
  const { url } = random.pick(apis)
  const client = { headers: bob }
  expect(await get(`${url}/conversations/${conversationId}`, client)).toMatchObject({ status: 404 })
  expect(await resume(url, client, conversationId, { text: '' })).toMatchObject({ status: 204 })
  const lastEventId = `${messageId}.0`
  expect(await resume(url, client, conversationId, { text: '', lastEventId })).toMatchObject({ status: 404, text: '' })
  expect(await stop(url, client, conversationId)).toMatchObject({ status: 204 })
}

async function wait({ random }: World): Promise<void> {
  await sleep(random.below(400))
}

/**
 * Kills a process with SIGKILL and restarts it. Its answers may still be complete if their end was stored just before.
 */
async function kill({ random, apis, answers }: World): Promise<void> {
  const api = random.pick(apis)
  for (const reader of answers.flatMap(({ readers }) => readers)) if (reader.api === api) reader.mayBreak = true
  await api.kill()
  for (const answer of answers) {
    if (answer.writer !== api || !answer.statuses.has('streaming')) continue
    answer.wasKilled = true
    answer.statuses.add('interrupted')
  }
  await api.restart()
}

export async function stopAnswer(api: Api, headers: Headers, answer: Answer): Promise<void> {
  expect(await stop(api.url, { headers }, answer.conversationId)).toMatchObject({ status: 204 })
  if (answer.statuses.has('streaming')) answer.statuses.add('stopped')
  noteEnded(answer)
}

function noteEnded({ statuses }: Answer): void {
  statuses.delete('streaming')
  expect(statuses).not.toEqual(new Set())
}

/** Returns the last answer of each conversation, the only one that may be running. */
export function listLast(answers: Answer[]): Answer[] {
  return [...new Map(answers.map((answer) => [answer.conversationId, answer])).values()]
}

type Read = (client: Client, reading: Reading) => Promise<Reading>

function open(api: Api, headers: Headers, reading: Reading, read: Read): Reader {
  const controller = new AbortController()
  const reader = { api, reading, controller, mayBreak: false, isDone: false }
  void read({ headers, signal: controller.signal }, reading).then(() => {
    reader.isDone = true
  })
  return reader
}

async function untilAnswered({ reading }: Reader): Promise<void> {
  await expect.poll(() => reading.status ?? reading.failure).toBeDefined()
}
