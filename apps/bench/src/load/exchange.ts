import { toMachineTime } from '@repo/testing/mock-model/machine-clock'
import { createAnswerChecker } from './answer-checker.ts'
import { type Client, createClient, type Handler } from './client.ts'
import type { Load } from './plan.ts'
import type { Tally } from './tally.ts'

/** One request and the check of its body: `judge` says what is wrong with it, once it has ended; `leave` comes last. */
type Exchange = {
  request: string
  read: (text: string, from: number, to: number) => void
  judge: () => string | undefined
  leave: () => void
  /** Who is given up has waited until now at least: a time that the slowest would otherwise be missing from. */
  giveUp: () => void
}

type CreateExchange = (tally: Tally, intendedAt: number) => Exchange

/** Chats, each with a question of its own and an answer of so many tokens, one every `intervalMs`. */
function createChats(host: string, { tokens, intervalMs }: { tokens: number; intervalMs: number }): CreateExchange {
  const run = Math.random().toString(36).slice(2) // two runs may share a database
  let number = 0

  return (tally, intendedAt) => {
    const { counts } = tally
    number += 1
    const question = `${run} ${number} [mock tokens=${tokens} interval=${intervalMs} clock=1]`
    const body = JSON.stringify({ message: question })
    const headers = [`host: ${host}`, 'content-type: application/json', `content-length: ${body.length}`]
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
    const giveUp = () => {
      if (!hasToken) tally.firstToken.record(performance.now() - intendedAt)
    }
    return { request, ...createAnswerChecker(question, tokens, onToken), leave, giveUp }
  }
}

/** Reads of one path, whose bodies must all be alike. */
function createReads(host: string, path: string): CreateExchange {
  const request = `GET ${path} HTTP/1.1\r\nhost: ${host}\r\n\r\n`
  let first: string | undefined

  return (tally, intendedAt) => {
    let body = ''
    const read = (text: string, from: number, to: number) => {
      body += text.slice(from, to)
    }
    const recordWait = () => tally.firstToken.record(performance.now() - intendedAt)
    const judge = () => {
      recordWait()
      first ??= body
      return body === first ? undefined : 'wrong bytes'
    }
    return { request, read, judge, leave: () => {}, giveUp: recordWait }
  }
}

/** Sends a request, checks and counts its response, and says whether it was good. */
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
    onHead: (given, head) => {
      status = given
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
    onGiveUp: exchange.giveUp,
  }
  client.send(exchange.request, handler)
  return promise
}

/** What a load does over HTTP: `ask` sends the next request, and says whether its response was good. */
export function createRequests(load: Load, tally: Tally) {
  const { host } = new URL(load.url)
  const client = createClient(load.url)
  const create = load.path === undefined ? createChats(host, load) : createReads(host, load.path)
  const ask = (intendedAt: number) => send(client, create(tally, intendedAt), tally, intendedAt)
  return { createSession: () => ask, close: client.close }
}
