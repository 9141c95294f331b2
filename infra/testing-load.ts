import { setTimeout as sleep } from 'node:timers/promises'
import { expect } from 'vitest'
import { mockAnswer } from '../packages/testing/src/mock-model/mock-model.ts'
import { ask, type Client, get, type Reading, resume } from './testing-chats.ts'

/** `api`: the index of the process that received the request. */
export type Request = Reading & { api: number }
export type Chat = Request & { id: string }
/** A stored message. */
export type Row = { chat: string; id: string; role: string; content: string; status: string }

const clients = 30
const [tokens, intervalMs] = [40, 50]
export const answerMs = tokens * intervalMs

/**
 * Runs 30 clients that ask these processes in turn, read the answer to its end and ask again. After `answerMs` the
 * answers are at all stages. Every third client disconnects midway and resumes from another process. Lists are
 * requested at the same time, and may fail.
 */
export function startLoad(name: string, urls: string[], client: Client) {
  const chats: Chat[] = []
  const lists: Promise<Request>[] = []
  const stopping = new AbortController()
  let isOver = false
  const chatOn = async (number: number) => {
    await sleep((number * answerMs) / clients)
    for (let turn = 0; !isOver; turn += 1) {
      const chat: Chat = { id: `${name}-${number}-${turn}`, api: (number + turn) % urls.length, text: '' }
      chats.push(chat)
      if (number % 3 === 0) await readFromAll(urls, chat, client, stopping.signal)
      else await askFor(urls, chat, client)
      if (!isAnswered(chat)) await sleep(500)
    }
  }
  const list = async (url: string, api: number) => ({ api, ...(await get(`${url}/conversations`, client)) })
  const listAll = async () => {
    for (; !isOver; await sleep(200)) lists.push(...urls.map(list))
  }
  const done = Promise.all([listAll(), ...Array.from({ length: clients }, (_, number) => chatOn(number))])
  return {
    chats,
    countUnderWay: () => chats.filter(({ messageId, end, failure }) => messageId && !end && !failure).length,
    /**
     * Stops asking. Resolves with all requests when they have ended. Clients resume from another process for
     * `patienceMs`.
     */
    stop: async (patienceMs: number): Promise<Request[]> => {
      isOver = true
      const timer = setTimeout(() => stopping.abort(), patienceMs)
      await done
      clearTimeout(timer)
      return [...chats, ...(await Promise.all(lists))]
    },
  }
}

function askFor(urls: string[], chat: Chat, client: Client): Promise<Reading> {
  return ask(`${urls[chat.api]}`, client, { message: toQuestion(chat.id), conversationId: chat.id }, chat)
}

/**
 * Simulates a client with a bad connection: it asks, is cut off midway, and tries one process after another for the
 * rest.
 */
async function readFromAll(urls: string[], chat: Chat, client: Client, signal: AbortSignal): Promise<void> {
  const cut = new AbortController()
  setTimeout(() => cut.abort(), answerMs / 2)
  await askFor(urls, chat, { ...client, signal: cut.signal })
  for (let next = chat.api + 1; chat.messageId && !chat.end && !signal.aborted; next += 1) {
    await resume(`${urls[next % urls.length]}`, { ...client, signal }, chat.id, chat)
    if (chat.failure ?? chat.code) await sleep(200)
  }
}

function toQuestion(id: string): string {
  return `${id} [mock tokens=${tokens} interval=${intervalMs}]`
}

export function isAnswered({ end }: Reading): boolean {
  return end === 'complete'
}

/**
 * Whether a failure is clean: an error with a code, an answer reported as ended early, a lost connection to its
 * process, or a client that left.
 */
export function isClean({ status = 0, code, end, failure }: Reading, hasProcessEnded: boolean): boolean {
  if (failure) return failure.startsWith('AbortError') || (hasProcessEnded && !failure.includes('Timeout'))
  if (status === 200) return end === 'failed' || end === 'interrupted'
  return code !== undefined && [429, 502, 503, 504].includes(status)
}

/** Returns whether the chat was accepted but its question or its answer is missing. */
export function isLost({ id, status, messageId }: Chat, rows: Row[]): boolean {
  if (status !== 200 && !messageId) return false
  const question = rows.find(({ chat, role }) => chat === id && role === 'user')
  return question?.content !== toQuestion(id) || findAnswer(rows, messageId) === undefined
}

/** Both the text read and the text stored are prefixes of what the model sent, and equal if the end was reported. */
export function expectNoGap({ id, messageId, text, end }: Chat, rows: Row[]): void {
  const sent = mockAnswer(toQuestion(id), tokens)
  expect(text).toBe(sent.slice(0, text.length))
  for (const { content } of rows.filter(({ chat, role }) => chat === id && role === 'assistant')) {
    expect(content).toBe(sent.slice(0, content.length))
  }
  const answer = findAnswer(rows, messageId)
  if (!answer || !end) return
  expect(answer.status).toBe(end)
  expect(answer.content).toBe(end === 'complete' ? sent : text.slice(0, answer.content.length))
}

function findAnswer(rows: Row[], messageId: string | undefined): Row | undefined {
  return rows.find(({ id }) => id === messageId)
}

/** Returns how much of a chat's text was read but not stored, in ms of the model's time. */
export function measureLostText({ messageId, text }: Chat, rows: Row[]): number {
  const count = (words: string) => words.split(' ').filter(Boolean).length
  return (count(text) - count(findAnswer(rows, messageId)?.content ?? '')) * intervalMs
}
