import { type Client, createClient, type Handler } from '@repo/measure/client'
import { toMachineTime } from '@repo/testing/mock-model/machine-clock'
import { createTexts } from '../corpus/texts.ts'
import { createAnswerChecker } from './answer-checker.ts'
import { describeAnswer, type Load } from './plan.ts'
import type { Tally } from './tally.ts'

/** A request and the check of its response. `judge` returns what is wrong with it after its end. `leave` is called last. */
type Exchange = {
  request: string
  read: (text: string, from: number, to: number) => void
  judge: () => string | undefined
  leave: () => void
  /** Records the wait so far, without which the slowest requests would be missing from the statistics. */
  abandon: () => void
}

type CreateExchange = (tally: Tally, intendedAt: number) => Exchange

/** Creates chats, each with another question. Words for the mock model would change what the search finds. */
function createChats(host: string, load: Load): CreateExchange {
  const { tokens, intervalMs, isModelSet, seed = 1 } = load
  const { ask } = createTexts(seed)
  const settings = isModelSet ? '' : `[mock ${describeAnswer(load).join(' ')}] `

  return (tally, intendedAt) => {
    const { counts } = tally
    const question = settings + ask()
    const body = JSON.stringify({ message: question })
    const length = Buffer.byteLength(body)
    const headers = [`host: ${host}`, 'content-type: application/json', `content-length: ${length}`]
    let hasToken = false
    const onToken = (index: number, startMs: number) => {
      const now = performance.now()
      counts.tokens += 1
      tally.late.record(toMachineTime(now) - startMs - index * intervalMs)
      if (hasToken) return
      hasToken = true
      counts.streaming += 1
      tally.firstToken.record(now - intendedAt)
    }
    const leave = () => {
      if (hasToken) counts.streaming -= 1
    }
    const request = `POST /chat HTTP/1.1\r\n${headers.join('\r\n')}\r\n\r\n${body}`
    const abandon = () => {
      if (!hasToken) tally.firstToken.record(performance.now() - intendedAt)
    }
    return { request, ...createAnswerChecker(question, tokens, onToken), leave, abandon }
  }
}

/** Creates reads of one path, whose bodies must all be equal. */
function createReads(host: string, path: string): CreateExchange {
  const request = `GET ${path} HTTP/1.1\r\nhost: ${host}\r\n\r\n`
  let first: string | undefined

  return (tally, intendedAt) => {
    let body = ''
    const read = (text: string, from: number, to: number) => {
      body += text.slice(from, to)
    }
    const recordWait = () => tally.response.record(performance.now() - intendedAt)
    const judge = () => {
      recordWait()
      first ??= body
      return body === first ? undefined : 'wrong bytes'
    }
    return { request, read, judge, leave: () => {}, abandon: recordWait }
  }
}

/** Creates searches, each for another question. All of them must find passages. */
function createSearches(host: string, { seed = 1 }: Load): CreateExchange {
  const { ask } = createTexts(seed)

  return (tally, intendedAt) => {
    const request = `GET /search?q=${encodeURIComponent(ask())} HTTP/1.1\r\nhost: ${host}\r\n\r\n`
    let hasPassages = false
    const read = (text: string, from: number, to: number) => {
      hasPassages ||= text.slice(from, to).includes('"chunkId":')
    }
    const recordWait = () => tally.response.record(performance.now() - intendedAt)
    const judge = () => {
      recordWait()
      return hasPassages ? undefined : 'no passages'
    }
    return { request, read, judge, leave: () => {}, abandon: recordWait }
  }
}

/** Sends a request, checks and counts its response, and returns whether it was correct. */
function send(client: Client, exchange: Exchange, tally: Tally, intendedAt: number): Promise<boolean> {
  const { promise, resolve } = Promise.withResolvers<boolean>()
  let status = 0
  let isRefusal = false
  let problem = ''

  const end = (failure: string | undefined) => {
    exchange.leave()
    if (isRefusal) tally.counts.refused += 1
    else if (failure === undefined) tally.counts.completed += 1
    else tally.fail(failure)
    if (isRefusal) tally.refusal.record(performance.now() - intendedAt)
    resolve(!isRefusal && failure === undefined)
  }
  const readProblem: Exchange['read'] = (text, from, to) => {
    problem += text.slice(from, to)
  }
  const handler: Handler = {
    onHead: (responseStatus, head) => {
      status = responseStatus
      isRefusal = status === 503 && /^retry-after:/im.test(head)
      handler.onBody = status === 200 ? exchange.read : readProblem
    },
    onBody: readProblem,
    onEnd: () => {
      const { code = '' } = /"code":"(?<code>\w+)"/.exec(problem)?.groups ?? {}
      end(status === 200 ? exchange.judge() : `${status} ${code}`.trim())
    },
    onFail: (kind) => {
      isRefusal = false
      end(kind)
    },
    onAbandon: exchange.abandon,
  }
  client.send(exchange.request, handler)
  return promise
}

function createExchanges(host: string, load: Load): CreateExchange {
  if (load.isSearch) return createSearches(host, load)
  return load.path === undefined ? createChats(host, load) : createReads(host, load.path)
}

/** Creates HTTP clients. A session sends one request per call, and returns whether its response was correct. */
export function createRequests(load: Load, tally: Tally) {
  const { host } = new URL(load.url)
  const client = createClient(load.url)
  const create = createExchanges(host, load)
  const ask = (intendedAt: number) => send(client, create(tally, intendedAt), tally, intendedAt)
  return { createSession: () => ask, close: client.close }
}
