import { setTimeout as sleep } from 'node:timers/promises'
import { mockAnswer } from '../packages/testing/src/mock-model/mock-model.ts'
import { ask, type Client, get, type Reading, resume, send } from './testing-chats.ts'

/** `urls`: where the question and the requests to resume were sent, in order. */
export type Chat = Reading & { id: string; question: string; tokens: number; urls: string[] }
/** A request that failed. */
export type Failure = { name: string; url: string; status?: number; code?: string; failure?: string }
type Repeated = { name: string; request: (url: string, turn: number) => Promise<Reading> }
/** Returns the URL of the next request. */
type Pick = () => string

type PeopleOptions = {
  pick: Pick
  client?: Client
  count?: number
  /** How many tokens the answers have, in turn. */
  lengths?: number[]
  /** Time between two tokens. */
  intervalMs?: number
  /** Time until all of them have asked. */
  rampMs?: number
  /** More requests to repeat besides lists and documents. */
  repeated?: Repeated[]
}

/** The failure of an answer that was reported as failed after its response had begun. */
export const failedInStream = 'an error in the stream'
const nobody: Client = { headers: {} }
const retryMs = 200 // between two attempts to reconnect
const pauseMs = 100 // between two of the repeated requests

/** `hold`: the token before which the model waits until it is released; 0 is before its response. */
export function createChat(id: string, tokens: number, { hold = -1, intervalMs = 20 } = {}): Chat {
  const question = `${id} [mock tokens=${tokens} interval=${intervalMs}${hold < 0 ? '' : ` hold=${hold}`}]`
  return { id, question, tokens, urls: [], text: '' }
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
export function startChat(pick: Pick, chat: Chat, client = nobody): Promise<Reading> {
  return patiently(() => ask(visit(pick, chat), client, { message: chat.question, conversationId: chat.id }, chat))
}

/** Resumes reading an interrupted stream, over one new connection. */
export function reconnect(pick: Pick, chat: Chat, client = nobody): Promise<Reading> {
  return patiently(() => resume(visit(pick, chat), client, chat.id, chat))
}

function visit(pick: Pick, chat: Chat): string {
  delete chat.status
  const url = pick()
  chat.urls.push(url)
  return url
}

/** Returns whether the client has every word of an answer that was reported as complete. */
export function isWhole({ end, text, question, tokens }: Chat): boolean {
  return end === 'complete' && text === mockAnswer(question, tokens)
}

/** Returns whether a client has to reconnect: its connection was lost, or its answer was interrupted for the first time. */
function isCut({ messageId, end, urls }: Chat): boolean {
  return messageId !== undefined && (end === undefined || (end === 'interrupted' && urls.length === 1))
}

/**
 * Simulates users during a deploy. They read answers, one after another, and reconnect until the end is reported.
 * Others read lists and post documents.
 */
export function startPeople({ pick, client = nobody, repeated = [], ...options }: PeopleOptions) {
  const { count = 12, lengths = [5, 20, 60, 400], intervalMs = 20, rampMs = 100 } = options
  const chats: Chat[] = []
  let failures: Failure[] = []
  const shedsBefore = sheds
  let [requests, isOver] = [0, false]

  const waiting = new Set<{ url: string; chat?: Chat }>()
  const attempt = async (name: string, request: (pickNext: Pick) => Promise<Reading>, chat?: Chat) => {
    const sent = { url: '', ...(chat && { chat }) }
    waiting.add(sent)
    const { status = 0, code = '', failure = '' } = await request(() => (sent.url = pick()))
    waiting.delete(sent)
    requests += 1
    const { url } = sent
    if (code || failure) failures.push({ name, url, ...(code ? { status, code } : { failure }) })
    if (chat?.end === 'failed') failures.push({ name, url, failure: failedInStream })
  }
  const chatOn = async (number: number) => {
    await sleep((rampMs * number) / count)
    for (let turn = 0; !isOver; turn += 1) {
      const tokens = lengths[(number + turn) % lengths.length] ?? 0
      const chat = createChat(`deploy-${number}-${turn}`, tokens, { intervalMs })
      chats.push(chat)
      await attempt('question', (pickNext) => startChat(pickNext, chat, client), chat)
      while (isCut(chat)) {
        await attempt('resume', (pickNext) => reconnect(pickNext, chat, client), chat)
        if (!chat.end) await sleep(retryMs)
      }
      if (!chat.end) await sleep(retryMs)
    }
  }
  const repeat = async ({ name, request }: Repeated) => {
    for (let turn = 0; !isOver; turn += 1) {
      await attempt(name, (pickNext) => patiently(() => request(pickNext(), turn)))
      await sleep(pauseMs)
    }
  }
  const others: Repeated[] = [
    { name: 'list', request: (url) => get(`${url}/conversations?limit=1`, client) },
    {
      name: 'document',
      request: (url, turn) => send(`${url}/documents`, client, { title: 'News', text: `News ${turn}.` }),
    },
    ...repeated,
  ]
  const done = Promise.all([...Array.from({ length: count }, (_, number) => chatOn(number)), ...others.map(repeat)])
  return {
    chats,
    /** Returns how many of its chats have an answer that is being read. */
    countStreams: () => chats.filter(({ messageId, end }) => messageId && !end).length,
    countRequests: () => requests,
    countSheds: () => sheds - shedsBefore,
    /** Resolves when each request to this URL has a response, or at least its headers. */
    untilResponded: async (url: string) => {
      while ([...waiting].some((sent) => sent.url === url && sent.chat?.status === undefined)) await sleep(10)
    },
    /** Returns the requests that failed since the last call. */
    takeFailures: (): Failure[] => {
      const taken = failures
      failures = []
      return taken
    },
    /** Resolves when all requests in progress have ended. Never rejects. */
    stop: async () => {
      isOver = true
      await done
    },
  }
}
