import { once } from 'node:events'
import { readFileSync } from 'node:fs'
import { createServer, type ServerResponse } from 'node:http'
import { text } from 'node:stream/consumers'
import { setTimeout as sleep } from 'node:timers/promises'
import { createTestDatabase } from '@repo/db/testing'
import { startApi, until } from '@repo/testing/processes'
import { measureReferenceMs, measureTurns, readTurns } from '@repo/testing/turns'
import { joinText, post, readParts } from '@repo/testing/ui-stream'
import { afterAll, expect, it, onTestFinished } from 'vitest'

// A model that repeats itself forever, as fast as its socket accepts it, beside 100 chats of other conversations.

const chats = 100
const words = 40 // per answer, one every 50 ms

const toEvent = (content: string) =>
  `data: ${JSON.stringify({ choices: [{ index: 0, delta: { content }, finish_reason: null }] })}\n\n`
const block = toEvent('again ').repeat(1000)
const stop = `data: ${JSON.stringify({ choices: [{ index: 0, delta: {}, finish_reason: 'stop' }] })}\n\ndata: [DONE]\n\n`

/** Starts a model that answers questions with `endless` in them forever, and all others in 40 words. */
async function startModel() {
  const counts = { endless: 0 }
  const server = createServer(async (request, response) => {
    const body = await text(request)
    response.writeHead(200, { 'content-type': 'text/event-stream' }).flushHeaders()
    if (!body.includes('endless')) return speak(response)
    counts.endless += 1
    response.on('close', () => {
      counts.endless -= 1
    })
    const write = () => {
      while (!response.destroyed && response.write(block));
    }
    response.on('drain', write)
    write()
  })
  await once(server.listen(0, '127.0.0.1'), 'listening')
  afterAll(() => {
    server.closeAllConnections()
    server.close()
  })
  const address = server.address()
  const env = {
    OPENAI_BASE_URL: `http://127.0.0.1:${typeof address === 'object' ? address?.port : 0}/v1`,
    CHAT_MODEL: 'm',
  }
  return { env, counts }
}

async function speak(response: ServerResponse) {
  for (let n = 0; n < words; n += 1) {
    response.write(toEvent(`w${n} `))
    await sleep(50)
  }
  response.end(stop)
}

const spoken = Array.from({ length: words }, (_, n) => `w${n} `).join('')

it('an endless answer costs the process bounded memory and time, and does not affect others', async ({ annotate }) => {
  const test = await createTestDatabase()
  onTestFinished(test.drop)
  const model = await startModel()
  const environment = { DATABASE_URL: test.databaseUrl, MAX_ANSWER_TOKENS: '10000000', ...model.env } // 1 MB ends it
  const api = await startApi(environment, measureTurns)
  const ask = async (message: string, conversationId: string) =>
    readParts(await post(`${api.url}/chat`, {}, { message, conversationId }))
  const chatAll = async (name: string) => {
    const answers = Array.from({ length: chats }, (_, n) => ask('Why?', `${name}-${n}`))
    return (await Promise.all(answers)).filter((parts) => joinText(parts) !== spoken).length
  }
  const readMb = () => Number(readFileSync(`/proc/${api.child.pid}/status`, 'utf8').match(/VmRSS:\s*(\d+)/)?.[1]) / 1024
  /** Returns the longest block and the peak memory while `work` runs. */
  const measure = async <T>(work: () => Promise<T>) => {
    await readTurns(api)
    let peakMb = 0
    const timer = setInterval(() => {
      peakMb = Math.max(peakMb, readMb())
    }, 50)
    const result = await work()
    clearInterval(timer)
    const { longestMs } = await readTurns(api)
    return { result, peakMb, longestMs }
  }

  for (let n = 0; n < 3; n += 1) await chatAll(`warm-${n}`) // warm-up: compiling and allocating
  const alone = await measure(() => chatAll('alone'))
  const beside = await measure(() => Promise.all([chatAll('beside'), ask('endless', 'endless')]))
  const [failed, endless] = beside.result
  const show = ({ peakMb, longestMs }: typeof alone | typeof beside) =>
    `${peakMb.toFixed(0)} MB, ${longestMs.toFixed(0)} ms`
  await annotate(`${chats} chats: ${show(alone)}; beside an answer without end: ${show(beside)}`)
  expect({ alone: alone.result, beside: failed }).toEqual({ alone: 0, beside: 0 })
  expect(endless.slice(-2)).toMatchObject([{ type: 'finish', finishReason: 'length' }, { type: '[DONE]' }])
  expect('again '.repeat(200_000).startsWith(joinText(endless))).toBe(true)
  expect(joinText(endless).length).toBe(1_000_000)
  await until(() => model.counts.endless === 0)
  expect(beside.peakMb - alone.peakMb).toBeLessThan(100) // without limits 468
  expect(beside.longestMs - alone.longestMs).toBeLessThan(4 * measureReferenceMs()) // without limits 5 s
  expect(api.logs().filter(({ msg }) => msg.includes('could not be stored'))).toEqual([])
}, 300_000)
