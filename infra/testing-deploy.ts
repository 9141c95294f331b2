import { setTimeout as sleep } from 'node:timers/promises'
import { mockAnswer } from '../packages/testing/src/mock-model/mock-model.ts'
import { ask, type Client, get, type Reading, resume, send } from './testing-chats.ts'

export type Chat = Reading & { id: string; question: string; tokens: number; reconnects: number }

const client: Client = { headers: {} }
const intervalMs = 20
const clients = 12
/** The last of them takes 8 s. */
const lengths = [5, 20, 60, 400]

/** `hold`: the token before which the model waits until it is released; 0 is before its response. */
export function createChat(id: string, tokens: number, hold?: number): Chat {
  const question = `${id} [mock tokens=${tokens} interval=${intervalMs}${hold === undefined ? '' : ` hold=${hold}`}]`
  return { id, question, tokens, reconnects: 0, text: '' }
}

let sheds = 0

/** Retries a request, as the response asks, while this machine is overloaded, which is unrelated to the replicas. */
async function patiently(request: () => Promise<Reading>): Promise<Reading> {
  for (;;) {
    const reading = await request()
    if (reading.code !== 'overloaded') return reading
    delete reading.code
    sheds += 1
    await sleep(2000) // the response's Retry-After
  }
}

/** Asks a question and reads the answer to its end. Never rejects. */
export function startChat(url: string, chat: Chat): Promise<Reading> {
  return patiently(() => ask(url, client, { message: chat.question, conversationId: chat.id }, chat))
}

/** Resumes reading an interrupted stream, over one new connection. */
export function reconnect(url: string, chat: Chat): Promise<Reading> {
  chat.reconnects += 1
  return patiently(() => resume(url, client, chat.id, chat))
}

/** Returns whether the client has every word of an answer that was reported as complete. */
export function isWhole({ end, text, question, tokens }: Chat): boolean {
  return end === 'complete' && text === mockAnswer(question, tokens)
}

/**
 * Simulates users during a deploy. 12 clients read answers of 0.1 to 8 s, one after another, and reconnect once when an
 * answer is reported as interrupted. Others read lists, write rows and post documents.
 */
export function startPeople(url: string) {
  const chats: Chat[] = []
  const requests: Reading[] = []
  const versions: number[] = []
  const shedsBefore = sheds
  let isOver = false
  const chatOn = async (number: number) => {
    for (let turn = 0; !isOver; turn += 1) {
      const chat = createChat(`deploy-${number}-${turn}`, lengths[(number + turn) % lengths.length] ?? 0)
      chats.push(chat)
      await startChat(url, chat)
      if (chat.end === 'interrupted') await reconnect(url, chat)
    }
  }
  const repeatEvery = async (pauseMs: number, request: (turn: number) => Promise<Reading>) => {
    for (let turn = 0; !isOver; turn += 1) {
      requests.push(await patiently(() => request(turn)))
      await sleep(pauseMs)
    }
  }
  const readVersion = async (): Promise<Reading> => {
    try {
      const response = await fetch(`${url}/mottos`)
      const { version, code } = JSON.parse(await response.text())
      if (response.ok) versions.push(version)
      return { text: '', status: response.status, code }
    } catch (error) {
      return { text: '', failure: String(error) }
    }
  }
  const done = Promise.all([
    ...Array.from({ length: clients }, (_, number) => chatOn(number)),
    repeatEvery(100, () => get(`${url}/conversations?limit=1`, client)),
    repeatEvery(100, readVersion),
    repeatEvery(100, () => send(`${url}/mottos`, client, undefined, 'PUT')),
    repeatEvery(200, (turn) => send(`${url}/documents`, client, { title: 'News', text: `News ${turn}.` })),
  ])
  return {
    chats,
    requests,
    /** The versions that have responded, in order. */
    versions,
    countSheds: () => sheds - shedsBefore,
    /** Ends the requests in progress. Never rejects. */
    stop: async () => {
      isOver = true
      await done
    },
  }
}
