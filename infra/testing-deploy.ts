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

/** Sends a request again, as it is told to, while this machine is overloaded: that says nothing about the replicas. */
async function patiently(request: () => Promise<Reading>): Promise<Reading> {
  for (;;) {
    const reading = await request()
    if (reading.code !== 'overloaded') return reading
    delete reading.code
    sheds += 1
    await sleep(2000) // its Retry-After
  }
}

/** Asks, and reads the answer to its end. Never rejects. */
export function startChat(url: string, chat: Chat): Promise<Reading> {
  return patiently(() => ask(url, client, { message: chat.question, conversationId: chat.id }, chat))
}

/** Reads on in an answer that was cut, over one new connection. */
export function reconnect(url: string, chat: Chat): Promise<Reading> {
  chat.reconnects += 1
  return patiently(() => resume(url, client, chat.id, chat))
}

/** Whether the client has every word of an answer that was told to be complete. */
export function isWhole({ end, text, question, tokens }: Chat): boolean {
  return end === 'complete' && text === mockAnswer(question, tokens)
}

/**
 * What people do while a new version comes: 12 read answers of 0.1 to 8 s, one after the other, and reconnect once when they
 * are told that one was interrupted; others read lists, write rows and post documents.
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
    /** The versions that have answered, in turn. */
    versions,
    countSheds: () => sheds - shedsBefore,
    /** Ends the requests under way. Never rejects. */
    stop: async () => {
      isOver = true
      await done
    },
  }
}
