import { createScriptedModel } from '@repo/testing/scripted-model'
import { post, readDelta, streamParts } from '@repo/testing/ui-stream'
import { afterAll, describe, expect, it } from 'vitest'
import { testApp } from '../testing.ts'

const model = createScriptedModel()
const environment = { PGBOUNCER_ADMIN_URL: process.env.PGBOUNCER_ADMIN_URL ?? '', DATABASE_POOL_SIZE: '3' }
const { app, alice, listen, close } = await testApp({ llm: model.llm, environment })
const url = await listen()
afterAll(close)

const readNow = async () => (await app.inject({ url: '/live', headers: alice })).json()

/** Starts an answer, and resolves when its first word has arrived. */
async function begin(conversationId: string) {
  const asked = post(`${url}/chat`, alice, { message: 'Well?', conversationId })
  const answer = await model.takeAnswer()
  answer.say('a')
  await readDelta(streamParts(await asked))
  return answer
}

/** Reads samples until `leave` is called. */
async function watch() {
  const controller = new AbortController()
  const headers = { ...alice, accept: 'text/event-stream' }
  const response = await fetch(`${url}/live`, { headers, signal: controller.signal })
  const reader = response.body?.pipeThrough(new TextDecoderStream()).getReader()
  let text = ''
  const next = async () => {
    while (!text.includes('\n\n')) {
      const { value } = (await reader?.read()) ?? {}
      if (value === undefined) throw new Error('the stream has ended')
      text += value
    }
    const end = text.indexOf('\n\n')
    const sample = JSON.parse(text.slice('data: '.length, end))
    text = text.slice(end + 2)
    return sample
  }
  return { response, next, leave: () => controller.abort() }
}

describe('GET /live', () => {
  it('requires a key', async () => {
    expect((await app.inject('/live')).json()).toMatchObject({ status: 401, code: 'unauthorized' })
  })

  it('returns one sample without `accept: text/event-stream`', async () => {
    expect(await readNow()).toEqual({
      at: expect.any(String),
      processes: 1,
      openStreams: 0,
      deltas: 0,
      eventLoopDelayMs: expect.any(Number),
      poolerClients: expect.any(Number),
      poolerClientsWaiting: 0,
      serversInUse: expect.any(Number),
      serversIdle: expect.any(Number),
    })
  })

  it('streams one sample per second that counts running answers', async () => {
    const viewer = await watch()
    expect(viewer.response.headers.get('content-type')).toBe('text/event-stream; charset=utf-8')
    expect(await viewer.next()).toMatchObject({ openStreams: 0 })
    const answers = await Promise.all(['one', 'two'].map(begin))
    await expect.poll(viewer.next).toMatchObject({ openStreams: 2 })
    expect((await viewer.next()).poolerClients).toBeGreaterThan(0)
    for (const answer of answers) answer.end()
    await expect.poll(viewer.next).toMatchObject({ openStreams: 0 })
    viewer.leave()
  })

  it('reads each sample once for all viewers', async () => {
    const viewers = await Promise.all([watch(), watch(), watch()])
    const firsts = await Promise.all(viewers.map(({ next }) => next()))
    const [latest] = firsts
      .map(({ at }) => at)
      .toSorted()
      .slice(-1) // a sample may have been read before the last viewer connected
    const times = viewers.map(async ({ next }, index) => {
      let { at } = firsts[index]
      while (at < latest) at = (await next()).at
      return at
    })
    expect(await Promise.all(times)).toEqual(times.map(() => latest))
    for (const { leave } of viewers) leave()
  })

  it('ends the streams when the server closes', async () => {
    const other = await testApp({ environment: { AUTH: 'off' } })
    const response = await fetch(`${await other.listen()}/live`, { headers: { accept: 'text/event-stream' } })
    const read = response.text()
    await other.close()
    expect(await read).toMatch(/^(data: .*\n\n)*$/)
  })
})
