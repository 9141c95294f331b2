import { once } from 'node:events'
import { createServer, type Server } from 'node:net'
import { setTimeout as sleep } from 'node:timers/promises'
import { sql } from '@repo/db'
import type { Embedder } from '@repo/llm'
import { createScriptedModel } from '@repo/testing/scripted-model'
import { post, readDelta, readParts, streamParts } from '@repo/testing/ui-stream'
import { afterAll, describe, expect, it, onTestFinished } from 'vitest'
import { testApp } from '../testing.ts'

/** Starts an app with a scripted model, and returns functions that read its metrics. */
async function openApp(environment: Record<string, string> = {}) {
  const model = createScriptedModel()
  const holds: (() => Promise<void>)[] = []
  const embedQuery: Embedder['embedQuery'] = async (...query) => {
    await holds.shift()?.()
    return model.llm.embedder.embedQuery(...query)
  }
  const llm = { ...model.llm, embedder: { ...model.llm.embedder, embedQuery } }
  const { app, alice, listen, close } = await testApp({ llm, environment })
  const url = await listen()
  const read = async () => (await app.inject({ url: '/metrics', headers: alice })).payload
  return {
    app,
    alice,
    read,
    /** Returns the value of a series by its name and labels, written as in the text. */
    find: async (series: string) => findValue(await read(), series),
    /** Starts an answer, and resolves when its first word has arrived. */
    begin: async (conversationId: string) => {
      const leaving = new AbortController()
      const asked = post(`${url}/chat`, alice, { message: 'What is a heron?', conversationId }, leaving.signal)
      const answer = await model.takeAnswer()
      answer.say('a')
      const parts = streamParts(await asked)
      await readDelta(parts)
      return { answer, parts, leave: () => leaving.abort() }
    },
    /** Delays the embedding of the next question, and with it the response headers. */
    holdNext: (hold: () => Promise<void>) => holds.push(hold),
    url,
    close,
  }
}

function findValue(text: string, series: string): number | undefined {
  const line = text.split('\n').find((candidate) => candidate.startsWith(`${series} `))
  return line === undefined ? undefined : Number(line.slice(series.length))
}

it('reports the worker’s queues', async () => {
  const { app, alice, work, close } = await testApp()
  onTestFinished(close)
  const find = async (series: string) =>
    findValue((await app.inject({ url: '/metrics', headers: alice })).payload, series)
  const waiting = 'sluice_queue_jobs{queue="ingest-document",state="waiting"}'
  expect(await find(waiting)).toBe(0)
  await app.inject({ method: 'POST', url: '/documents', headers: alice, payload: { title: 'A', text: 'A text.' } })
  expect(await find(waiting)).toBe(1)
  expect(await find('sluice_queue_oldest_seconds{queue="ingest-document"}')).toBeGreaterThan(0)
  await work()
  expect([await find(waiting), await find('sluice_queue_oldest_seconds{queue="ingest-document"}')]).toEqual([0, 0])
})

describe('GET /metrics', async () => {
  const { app, alice, read, find, begin, holdNext, url, close } = await openApp()
  afterAll(close)

  it('requires a key', async () => {
    expect((await app.inject('/metrics')).json()).toMatchObject({ status: 401, code: 'unauthorized' })
  })

  it('uses Prometheus’ text format: help and type before each metric, no duplicate series', async () => {
    const { headers, payload } = await app.inject({ url: '/metrics', headers: alice })
    expect(headers['content-type']).toBe('text/plain; version=0.0.4; charset=utf-8')
    const heads = payload.matchAll(/^# HELP (\w+) .+\n# TYPE \1 (\w+)$/gm)
    const types = new Map(Array.from(heads, ([, name = '', type]) => [name, type]))
    const series = [...payload.matchAll(/^((\w+?)(?:_bucket|_sum|_count)?(?:\{\S+="[^"]*"\})?) [\d.e+-]+$/gm)]
    expect(types.size).toBeGreaterThan(12)
    expect(types.size * 2 + series.length).toBe(payload.split('\n').filter(Boolean).length)
    expect(series.filter(([, , name = '']) => !types.has(name))).toEqual([])
    expect(new Set(series.map(([, id]) => id)).size).toBe(series.length)
    const totals = [...types].filter(([, type]) => type === 'counter').map(([name]) => name)
    expect(totals.filter((name) => !name.endsWith('_total'))).toEqual([])
  })

  it('counts the deltas of an answer while it runs, its status and first token when it ends', async () => {
    const { answer, parts } = await begin('counted')
    answer.say(' b')
    await readDelta(parts)
    const running = await read()
    expect(findValue(running, 'sluice_open_streams')).toBe(1)
    expect(findValue(running, 'sluice_answer_deltas_total')).toBe(2)
    expect(findValue(running, 'sluice_answers_total{status="complete"}')).toBe(0)
    answer.say(' c')
    answer.end()
    await readParts(parts)
    const ended = await read()
    expect(findValue(ended, 'sluice_open_streams')).toBe(0)
    expect(findValue(ended, 'sluice_answer_deltas_total')).toBe(3)
    expect(findValue(ended, 'sluice_answers_total{status="complete"}')).toBe(1)
    expect(findValue(ended, 'sluice_time_to_first_token_seconds_count')).toBe(1)
    expect(findValue(ended, 'sluice_time_to_first_token_seconds_bucket{le="120"}')).toBe(1)
  })

  it('counts failed and stopped answers separately', async () => {
    const before = await read()
    const failed = await begin('failed')
    failed.answer.fail(new Error('broken'))
    await readParts(failed.parts)
    const stopped = await begin('stopped')
    await app.inject({ method: 'POST', url: '/chat/stopped/stop', headers: alice })
    await readParts(stopped.parts)
    const after = await read()
    for (const status of ['failed', 'stopped']) {
      const series = `sluice_answers_total{status="${status}"}`
      expect(findValue(after, series)).toBe((findValue(before, series) ?? 0) + 1)
    }
  })

  it('counts requests by route instead of URL, and streams when they end', async () => {
    for (const id of ['heron', 'egret']) await app.inject({ url: `/conversations/${id}`, headers: alice })
    await app.inject({ url: '/heron/egret', headers: alice })
    const count = (route: string, method = 'GET', status = 404) =>
      find(`sluice_http_request_duration_seconds_count{method="${method}",route="${route}",status="${status}"}`)
    expect(await count('/conversations/:id')).toBe(2)
    expect(await count('none')).toBe(1)
    const streams = (await count('/chat', 'POST', 200)) ?? 0
    const { answer, parts } = await begin('counted-by-route')
    expect((await count('/chat', 'POST', 200)) ?? 0).toBe(streams)
    answer.end()
    await readParts(parts)
    await expect.poll(() => count('/chat', 'POST', 200)).toBe(streams + 1)
  })

  it('counts requests whose client disconnected, during a stream or before it', async () => {
    const count = async (status: number) =>
      (await find(`sluice_http_request_duration_seconds_count{method="POST",route="/chat",status="${status}"}`)) ?? 0
    const [streams, left] = [await count(200), await count(499)]
    const { answer, leave } = await begin('left')
    leave()
    await expect.poll(() => count(200)).toBe(streams + 1)
    answer.end()

    const [leaving, held] = [new AbortController(), Promise.withResolvers<void>()]
    holdNext(() => {
      leaving.abort()
      return held.promise
    })
    const question = { message: 'What is a heron?', conversationId: 'left-early' }
    await expect(post(`${url}/chat`, alice, question, leaving.signal)).rejects.toThrow()
    await expect.poll(() => count(499)).toBe(left + 1)
    held.reject(new Error('no longer needed')) // otherwise the model’s next answer would belong to this question
  })

  it('contains no user data', async () => {
    const text = await read()
    expect(text).toContain('/conversations/:id')
    expect(text).not.toMatch(/heron|egret|alice|counted-by/)
  })
})

describe('the pool', async () => {
  const { app, find, read, close } = await openApp({ DATABASE_POOL_SIZE: '1', AUTH: 'off' })
  afterAll(close)

  it('reports the connections in use, the waiting queries and their waiting time', async () => {
    await read() // caches the local owner, so later readings run no query
    const held = Promise.withResolvers<void>()
    const holder = app.db.transaction(() => held.promise)
    await expect.poll(() => find('sluice_pool_in_use')).toBe(1)
    const waiting = [1, 2].map(() => app.db.execute(sql`select 1`).then(() => 1))
    await expect.poll(() => find('sluice_pool_waiting')).toBeGreaterThanOrEqual(2) // the app's periodic sweep may be waiting too
    const before = (await find('sluice_pool_wait_seconds_count')) ?? 0
    held.resolve()
    await Promise.all([holder, ...waiting])
    await expect.poll(() => find('sluice_pool_in_use')).toBe(0)
    const text = await read()
    expect(findValue(text, 'sluice_pool_size')).toBe(1)
    expect(findValue(text, 'sluice_pool_waiting')).toBe(0)
    expect(findValue(text, 'sluice_pool_wait_seconds_count')).toBeGreaterThanOrEqual(before + 2)
  })

  it('counts how often and how long connections were held', async () => {
    const total = async (name: string) => (await find(`sluice_pool_${name}_total`)) ?? 0
    const [holds, seconds] = [await total('holds'), await total('hold_seconds')]
    await app.db.transaction(() => sleep(300))
    expect(await total('hold_seconds')).toBeGreaterThan(seconds + 0.29)
    expect(await total('holds')).toBeGreaterThan(holds)
  })

  it('reports the event loop delay since the last reading', async () => {
    const longest = 'sluice_event_loop_delay_seconds{quantile="1"}'
    await read()
    await sleep(30) // a new measurement has started
    Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, 700)
    await sleep(30)
    expect(await find(longest)).toBeGreaterThan(0.6)
    await expect.poll(() => find(longest)).toBeLessThan(0.6) // a busy machine may delay it again
  })

  it('counts delayed seconds, independent of how often it is read', async () => {
    const late = async () => {
      const text = await read()
      const count = (series: string) => findValue(text, `sluice_event_loop_worst_delay_seconds_${series}`) ?? 0
      return count('count') - count('bucket{le="0.3"}')
    }
    const before = await late()
    const lateAgain = () => {
      Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, 500) // not observed when a second has just begun
      return late()
    }
    await expect.poll(lateAgain).toBeGreaterThan(before)
  })
})

describe('the PgBouncer metrics', () => {
  const start = async (PGBOUNCER_ADMIN_URL: string) => {
    const opened = await openApp({ PGBOUNCER_ADMIN_URL, AUTH: 'off' })
    onTestFinished(opened.close)
    return opened
  }
  const adminUrl = new URL(process.env.PGBOUNCER_ADMIN_URL ?? '')

  it('describe the API’s own database', async () => {
    const { app, find, read } = await start(adminUrl.href)
    const held = Promise.withResolvers<void>()
    const holders = [1, 2, 3].map(() =>
      app.db.transaction(async (tx) => {
        await tx.execute(sql`select 1`)
        await held.promise
      }),
    )
    await expect.poll(() => find('sluice_pgbouncer_sv_active')).toBe(3)
    const text = await read()
    held.resolve()
    await Promise.all(holders)
    expect(findValue(text, 'sluice_pgbouncer_up')).toBe(1)
    expect(findValue(text, 'sluice_pgbouncer_cl_active')).toBeGreaterThanOrEqual(3)
    expect(findValue(text, 'sluice_pgbouncer_cl_waiting')).toBe(0)
    expect(findValue(text, 'sluice_pgbouncer_maxwait_seconds')).toBe(0)
    expect(findValue(text, 'sluice_pgbouncer_pool_size')).toBe(20)
    await expect.poll(() => find('sluice_pgbouncer_sv_idle')).toBeGreaterThanOrEqual(3)
  })

  it('are omitted without PGBOUNCER_ADMIN_URL', async () => {
    const { read } = await start('')
    expect(await read()).not.toContain('pgbouncer')
  })

  it.each([
    ['refuses connections', (server: Server) => server.close()],
    ['does not respond', () => {}],
  ])('are omitted except `up 0` when PgBouncer %s; all other metrics remain', async (_, prepare) => {
    const server = createServer().listen(0, '127.0.0.1')
    await once(server, 'listening')
    onTestFinished(() => void server.close())
    const address = server.address()
    prepare(server)
    const { read } = await start(`postgres://stats@127.0.0.1:${typeof address === 'object' && address?.port}/pgbouncer`)
    const text = await read()
    expect(findValue(text, 'sluice_pgbouncer_up')).toBe(0)
    expect(text).not.toContain('sluice_pgbouncer_cl_active')
    expect(findValue(text, 'sluice_open_streams')).toBe(0)
  })
})
