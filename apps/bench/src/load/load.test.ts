import { once } from 'node:events'
import { createServer, type Server, type ServerResponse } from 'node:http'
import { text } from 'node:stream/consumers'
import { toMachineTime } from '@repo/testing/mock-model/machine-clock'
import { mockToken } from '@repo/testing/mock-model/settings'
import { describe, expect, it, onTestFinished } from 'vitest'
import { runLoad } from './load.ts'

const load = { tokens: 3, intervalMs: 0, clients: 4, rampMs: 0, seconds: 0, patienceMs: 10_000 }

/** Starts a server that answers each chat with `answer`, which receives its number and the correct tokens. */
async function startServer(answer: (response: ServerResponse, number: number, tokens: string[]) => void) {
  let number = 0
  const server = createServer(async (request, response) => {
    number += 1
    const own = number
    const { message } = JSON.parse(await text(request))
    const clock = `@${Math.round(toMachineTime() * 1000)} `
    answer(
      response,
      own,
      [0, 1, 2].map((index) => (index === 0 ? clock : '') + mockToken(message, index)),
    )
  })
  return listen(server)
}

async function listen(server: Server): Promise<string> {
  await once(server.listen(0, '127.0.0.1'), 'listening')
  onTestFinished(() => {
    server.closeAllConnections()
    server.close()
  })
  const address = server.address()
  return `http://127.0.0.1:${typeof address === 'object' ? address?.port : ''}`
}

function sendAnswer(response: ServerResponse, tokens: string[]) {
  for (const delta of tokens) response.write(`data: ${JSON.stringify({ type: 'text-delta', id: '0', delta })}\n\n`)
  response.end('data: {"type":"finish"}\n\ndata: [DONE]\n\n')
}

describe('a load', () => {
  it('counts and times correct answers and their tokens', async () => {
    const url = await startServer((response, _, tokens) => sendAnswer(response, tokens))
    const result = await runLoad({ ...load, url })
    expect(result).toMatchObject({ started: 4, completed: 4, open: 0, streaming: 0, tokens: 12, failures: {} })
    expect(result.firstToken).toMatchObject({ count: 4 })
    expect(result.late).toMatchObject({ count: 12 })
  })

  it('distinguishes failures', async () => {
    const url = await startServer((response, number, tokens) => {
      if (number === 1) response.writeHead(502).end('{"code":"model_failed"}')
      if (number === 2) sendAnswer(response, tokens.toSpliced(1, 1))
      if (number === 3) response.socket?.resetAndDestroy()
      if (number === 4) response.write('data: {"type":"start"}\n\n')
    })
    const { failures, completed, firstToken } = await runLoad({ ...load, url, patienceMs: 2000 })
    expect(firstToken?.max, 'the wait of the abandoned request').toBeGreaterThan(2000)
    expect(failures).toEqual({ '502 model_failed': 1, 'wrong bytes': 1, ECONNRESET: 1, unfinished: 1 })
    expect(completed).toBe(0)
  })

  it('counts a 503 with Retry-After as a refusal, and one without as a failure', async () => {
    const url = await startServer((response, number) => {
      response.writeHead(503, number > 1 ? { 'retry-after': '2' } : {}).end('{"code":"overloaded"}')
    })
    const { refused, refusal, failures } = await runLoad({ ...load, url })
    expect({ refused, failures }).toEqual({ refused: 3, failures: { '503 overloaded': 1 } })
    expect(refusal).toMatchObject({ count: 3 })
  })

  it('sends questions of words alone if the name of the model contains its settings', async () => {
    const messages: string[] = []
    const server = createServer(async (request, response) => {
      messages.push(JSON.parse(await text(request)).message)
      response.writeHead(400).end('{}')
    })
    const result = await runLoad({ ...load, url: await listen(server), isModelSet: true })
    expect(result.failures).toEqual({ 400: 4 })
    expect(new Set(messages).size).toBe(4)
    for (const message of messages) expect(message.split(' ').length).toBeGreaterThanOrEqual(8)
    expect(messages.join()).not.toContain('[mock')
  })

  it('searches for questions, and requires passages', async () => {
    const bodies = ['{"items":[{"chunkId":"a"}]}', '{"items":[]}']
    const paths: string[] = []
    const server = createServer(({ url = '' }, response) => {
      paths.push(url)
      response.end(bodies[paths.length % 2])
    })
    const result = await runLoad({ ...load, url: await listen(server), isSearch: true })
    expect(result).toMatchObject({ completed: 2, failures: { 'no passages': 2 }, response: { count: 4 } })
    expect(new Set(paths).size).toBe(4)
    for (const path of paths) expect(path).toMatch(/^\/search\?q=[^ ]{20,}$/)
  })

  it('at a fixed rate does not wait for answers, and counts latency from the intended start', async () => {
    const waiting: (() => void)[] = []
    const url = await startServer((response, number, tokens) => {
      waiting.push(() => sendAnswer(response, tokens))
      if (number === 20) for (const answer of waiting) answer()
    })
    const { completed, firstToken } = await runLoad({ ...load, url, perSecond: 50, seconds: 0.4 })
    expect(completed).toBe(20)
    expect(firstToken?.max).toBeGreaterThan(350)
  })
})
