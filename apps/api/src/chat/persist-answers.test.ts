import { setImmediate as nextTurn } from 'node:timers/promises'
import { type AnswerPart, and, connect, createStore, eq, messages, sql } from '@repo/db'
import { createScriptedModel } from '@repo/testing/scripted-model'
import { openTcpProxy } from '@repo/testing/tcp-proxy'
import { listTypes, post, readDelta, readParts, streamParts } from '@repo/testing/ui-stream'
import { pino } from 'pino'
import { afterAll, describe, expect, it, onTestFinished, vi } from 'vitest'
import { testApp } from '../testing.ts'
import { type Answer, createAnswer } from './answer.ts'
import { startPersistence } from './persist-answers.ts'

const model = createScriptedModel()
const gate = await openTcpProxy()
vi.useFakeTimers({ toFake: ['setInterval'] }) // the sweep runs every 10 s
const log: string[] = []
const logger = pino({ level: 'warn' }, { write: (line: string) => void log.push(line) })
const { app, store, test, alice, listen, close } = await testApp({ llm: model.llm, gate, logger })
const direct = connect({ url: test.directDatabaseUrl, poolSize: 2 })
const passTime = (ms: number) => vi.advanceTimersByTimeAsync(ms)
const url = await listen()
afterAll(async () => {
  await direct.close()
  await close()
  await gate.shut()
})

const source = { n: 1, documentId: 'd', chunkId: 'c', title: 'Pool', start: 0, end: 9 }

const begin = async (conversationId: string) => {
  const response = post(`${url}/chat`, alice, { message: 'a question', conversationId })
  return { answer: await model.takeAnswer(), response }
}
const readAnswer = async (id: string) =>
  (await app.inject({ url: `/conversations/${id}`, headers: alice })).json().messages?.at(-1)

const words = (text: string): AnswerPart[] => [{ type: 'text', text }]

const readLater = async (id: string) => {
  await passTime(1000)
  return readAnswer(id)
}

/** Makes an answer look as if its process had sent no heartbeat for 16 s. */
const silence = (conversationId: string) =>
  direct.db
    .update(messages)
    .set({ heartbeatAt: sql`now() - interval '16 seconds'` })
    .where(and(eq(messages.conversationId, conversationId), eq(messages.status, 'streaming')))

it('stores the text so far once per second', async () => {
  const { answer, response } = await begin('growing')
  answer.say('half')
  await response
  await passTime(1000)
  await expect.poll(() => readAnswer('growing')).toMatchObject({ content: 'half', status: 'streaming' })
  answer.say(' and half')
  await passTime(1000)
  await expect.poll(() => readAnswer('growing')).toMatchObject({ content: 'half and half', status: 'streaming' })
  answer.end()
  await readParts(await response)
})

describe.for([2500, 7000])('%i running answers', (count) => {
  it('all send a heartbeat within five seconds, in batches no larger than that needs', async () => {
    const running = new Map<string, Answer>()
    for (let n = 0; n < count; n += 1) {
      running.set(`${n}`, createAnswer('owner', { conversationId: `${n}`, answerId: `${n}` }))
    }
    const saved: string[][] = []
    const saveProgress = vi.fn(async (rows: { answerId: string }[]) => {
      saved.push(rows.map(({ answerId }) => answerId))
      return new Set(saved.at(-1))
    })
    const stop = startPersistence(
      { store: { ...store, answers: { ...store.answers, saveProgress } }, log: app.log },
      running,
    )
    onTestFinished(stop)
    await passTime(5000)
    const atOnce = Math.max(1000, count / 5)
    expect(saved.map(({ length }) => length)).toEqual(Array(5).fill(atOnce))
    expect(new Set(saved.flat()).size).toBe(count)
  })
})

it('an answer that ends during a database outage is stored after it, and finishes only then', async () => {
  const { answer, response } = await begin('outlived')
  answer.say('whole')
  const parts = readParts(await response)
  await gate.shut()
  answer.end()
  const refused = await post(`${url}/chat`, alice, { message: 'a question' })
  expect(refused.headers.get('retry-after')).toBe('2')
  expect(await refused.json()).toMatchObject({ status: 503, code: 'database_unavailable' })
  expect(await Promise.race([parts, 'still open'])).toBe('still open')
  await gate.open()
  expect(listTypes(await parts).slice(-2)).toEqual(['finish', '[DONE]'])
  await expect.poll(() => readAnswer('outlived')).toMatchObject({ content: 'whole', status: 'complete' })
})

it('cancels the model call of a conversation that another process deleted', async () => {
  const { answer, response } = await begin('deleted')
  answer.say('half')
  const parts = readParts(await response)
  await store.conversations.remove(await store.owners.ensure('alice'), 'deleted')
  await passTime(1000)
  expect((await parts).slice(-2)).toMatchObject([{ type: 'abort', reason: 'stopped' }, { type: '[DONE]' }])
  expect(answer.request.signal.aborted).toBe(true)
})

it('marks the answer of a crashed process as interrupted, keeps its text, and lets the conversation continue', async () => {
  const owner = await store.owners.ensure('alice')
  const turn = { conversationId: 'orphan', title: 'a title', questionId: 'q', question: 'a question', answerId: 'a' }
  await store.turns.open(owner, turn)
  await store.answers.saveProgress([{ ...turn, owner, start: 0, parts: words('half') }])
  await silence('orphan')
  const { answer, response } = await begin('alive')
  await response
  await passTime(10_000)
  await expect.poll(() => readAnswer('orphan')).toMatchObject({ content: 'half', status: 'interrupted' })
  expect(await readAnswer('alive')).toMatchObject({ status: 'streaming' })
  answer.end()
  const next = await begin('orphan')
  next.answer.end()
  expect((await next.response).status).toBe(200)
})

describe('an answer that another process considered abandoned during an outage', () => {
  const beginSwept = async (conversationId: string) => {
    const { answer, response } = await begin(conversationId)
    answer.say('half')
    const parts = readParts(await response)
    await gate.shut()
    await silence(conversationId)
    await createStore(direct.db).answers.interruptAbandoned(15_000)
    await gate.open()
    await expect.poll(() => readAnswer(conversationId)).toMatchObject({ status: 'interrupted' })
    return { answer, parts }
  }

  it('is stored completely', async () => {
    const { answer, parts } = await beginSwept('swept')
    answer.say(' and half')
    answer.end()
    expect(listTypes(await parts).slice(-2)).toEqual(['finish', '[DONE]'])
    expect(await readAnswer('swept')).toMatchObject({ content: 'half and half', status: 'complete' })
  })

  it('continues to be saved while it grows', async () => {
    const { answer, parts } = await beginSwept('going-on')
    answer.say(' and half')
    await expect.poll(() => readLater('going-on')).toMatchObject({ content: 'half and half' })
    expect(answer.request.signal.aborted).toBe(false)
    answer.end()
    await parts
  })
})

it('an answer is stopped if another process deleted its conversation, even when the model has finished', async () => {
  const { answer, response } = await begin('gone')
  answer.say('whole')
  const parts = readParts(await response)
  await store.conversations.remove(await store.owners.ensure('alice'), 'gone')
  answer.end()
  expect((await parts).slice(-2)).toMatchObject([{ type: 'abort', reason: 'stopped' }, { type: '[DONE]' }])
})

it('an answer that another process asked to stop ends with all of its text', async () => {
  const { answer, response } = await begin('stopped')
  const other = await begin('not-stopped')
  answer.say('not stored yet')
  const parts = readParts(await response)
  await store.answers.requestStop(await store.owners.ensure('alice'), 'stopped')
  const isHungUp = async () => {
    await passTime(250)
    return answer.request.signal.aborted
  }
  await expect.poll(isHungUp).toBe(true)
  expect((await parts).slice(-2)).toMatchObject([{ type: 'abort', reason: 'stopped' }, { type: '[DONE]' }])
  expect(await readAnswer('stopped')).toMatchObject({ content: 'not stored yet', status: 'stopped' })
  expect(other.answer.request.signal.aborted).toBe(false)
  other.answer.end()
  await readParts(await other.response)
})

it('runs one stop query at a time, however slow the database is', async () => {
  const { answer, response } = await begin('heeded')
  const released = Promise.withResolvers<string[]>()
  const list = vi.spyOn(store.answers, 'listStopRequests').mockImplementation(() => released.promise)
  onTestFinished(() => list.mockRestore())
  const countCalls = async () => {
    await passTime(250)
    return list.mock.calls.length
  }
  await expect.poll(countCalls).toBe(1)
  await passTime(5000)
  expect(list).toHaveBeenCalledTimes(1)
  released.resolve([])
  answer.end()
  await readParts(await response)
})

it('an answer finishes when its connection broke after it was stored', async () => {
  const { finish } = createStore(direct.db).answers
  const broken = vi.spyOn(store.answers, 'finish').mockImplementationOnce(async (...end) => {
    await finish(...end)
    throw Object.assign(new Error('write CONNECTION_CLOSED'), { code: 'CONNECTION_CLOSED' })
  })
  onTestFinished(() => broken.mockRestore())
  const { answer, response } = await begin('unheard')
  answer.say('whole')
  answer.end()
  expect(listTypes(await readParts(await response)).slice(-2)).toEqual(['finish', '[DONE]'])
  expect(await readAnswer('unheard')).toMatchObject({ content: 'whole', status: 'complete' })
})

it('an answer waits for a row that is locked for longer than the lock timeout', async () => {
  await shortenLockTimeout()
  const { answer, response } = await begin('locked')
  answer.say('whole')
  const parts = readParts(await response)
  const hasFailed = () => log.some((line) => line.includes('could not be stored yet') && line.includes('55P03'))
  await direct.db.transaction(async (tx) => {
    await tx.execute(sql`select from messages where conversation_id = 'locked' for update`)
    answer.end()
    await expect.poll(hasFailed).toBe(true)
  })
  expect(listTypes(await parts).slice(-2)).toEqual(['finish', '[DONE]'])
  expect(await readAnswer('locked')).toMatchObject({ content: 'whole', status: 'complete' })
})

/** Shortens the lock timeout. Only new connections read this setting, so existing ones are closed. */
async function shortenLockTimeout() {
  const database = sql.identifier(new URL(test.databaseUrl).pathname.slice(1))
  await direct.db.execute(sql`alter database ${database} set lock_timeout = '100ms'`)
  const others = sql`datname = current_database() and usename = current_user and pid <> pg_backend_pid()`
  await direct.db.execute(sql`select pg_terminate_backend(pid, 5000) from pg_stat_activity where ${others}`)
  const read = () => app.db.execute(sql`show lock_timeout`).catch(() => [])
  await expect.poll(read).toMatchObject([{ lock_timeout: '100ms' }])
}

describe('saving the text so far', () => {
  const watchSaves = () => {
    const save = vi.spyOn(store.answers, 'saveProgress')
    onTestFinished(() => save.mockRestore())
    const settled = () => Promise.allSettled(save.mock.results.map(({ value }) => value))
    /** Advances the clock by a second, waits for the save, and returns what was sent. */
    const saveOnce = async () => {
      await nextTurn()
      const before = save.mock.calls.length
      await passTime(1000)
      await settled()
      return save.mock.calls.slice(before)
    }
    return { save, saveOnce, settled }
  }

  /** Lets the model say a text, and waits until its client has it: then it is part of the answer. */
  const say = async (
    answer: Awaited<ReturnType<typeof begin>>['answer'],
    parts: ReturnType<typeof streamParts>,
    text: string,
  ) => {
    answer.say(text)
    expect(await readDelta(parts)).toBe(text)
  }

  it('sends only new text, and sends it again after a failure', async () => {
    const { save, saveOnce } = watchSaves()
    const { answer, response } = await begin('new')
    const parts = streamParts(await response)
    await say(answer, parts, 'one')
    expect(await saveOnce()).toMatchObject([[[{ start: 0, parts: words('one') }]]])
    await say(answer, parts, ', two')
    expect(await saveOnce()).toMatchObject([[[{ parts: words(', two') }]]])
    expect(await saveOnce()).toMatchObject([[[{ parts: [] }]]])
    save.mockRejectedValueOnce(new Error('away'))
    await say(answer, parts, ', three')
    expect(await saveOnce()).toMatchObject([[[{ start: 8, parts: words(', three') }]]])
    expect(await saveOnce()).toMatchObject([[[{ start: 8, parts: words(', three') }]]])
    expect(await saveOnce()).toMatchObject([[[{ parts: [] }]]])
    expect(await readAnswer('new')).toMatchObject({ content: 'one, two, three' })
    answer.end()
    await readParts(parts)
  })

  it('waits for a slow save before starting the next one', async () => {
    const { save, saveOnce, settled } = watchSaves()
    const { saveProgress } = createStore(direct.db).answers
    const { answer, response } = await begin('slow')
    const parts = streamParts(await response)
    await say(answer, parts, 'one')
    await nextTurn()
    const released = Promise.withResolvers<void>()
    save.mockImplementationOnce((progress) => released.promise.then(() => saveProgress(progress)))
    await passTime(5000)
    expect(save).toHaveBeenCalledTimes(1)
    released.resolve()
    await settled()
    await say(answer, parts, ', two')
    expect(await saveOnce()).toMatchObject([[[{ parts: words(', two') }]]])
    expect(await readAnswer('slow')).toMatchObject({ content: 'one, two' })
    answer.end()
    await readParts(parts)
  })

  it('that Postgres rejects for one answer succeeds for the others', async () => {
    const name = 'rejected'
    const spoil = (answer: Answer) => Object.assign(answer, { sources: [{ ...source, title: '\0' }] })
    const owner = await store.owners.ensure('alice')
    const ask = async (id: string) => {
      const question = { conversationId: `${name}-${id}`, questionId: 'q', text: 'a question', action: 'ask' as const }
      const running = await app.chat.ask(owner, question)
      return { running, answer: await model.takeAnswer() }
    }
    const asked = [await ask('a'), await ask('b'), await ask('spoilt'), await ask('c'), await ask('d')]
    for (const { running } of asked) running.append('text', 'half')
    const spoilt = asked[2]?.running ?? (await ask('never')).running
    spoil(spoilt)
    for (const id of ['a', 'b', 'c', 'd']) {
      await expect.poll(() => readLater(`${name}-${id}`)).toMatchObject({ content: 'half', status: 'streaming' })
    }
    expect(await readAnswer(`${name}-spoilt`)).toMatchObject({ content: '', status: 'streaming' })
    expect(log.some((line) => line.includes('cannot be stored') && line.includes(spoilt.key.answerId))).toBe(true)
    for (const { running } of asked) expect(running.controller.signal.aborted).toBe(false)
    spoilt.parts.splice(0)
    spoilt.sources = []
    spoilt.append('text', 'repaired')
    await expect.poll(() => readLater(`${name}-spoilt`)).toMatchObject({ content: 'repaired', status: 'streaming' })
    for (const { answer, running } of asked) {
      answer.end()
      await running.ended
    }
  })

  it('skips a row that is locked elsewhere, and stores all of it once the lock is released', async () => {
    const [held, free] = [await begin('held'), await begin('free')]
    const responses = await Promise.all([held.response, free.response])
    for (const { answer } of [held, free]) answer.say('half')
    await direct.db.transaction(async (tx) => {
      await tx.execute(sql`select from messages where conversation_id = 'held' for update`)
      await expect.poll(() => readLater('free')).toMatchObject({ content: 'half' })
      for (const { answer } of [held, free]) answer.say(' and half')
      await expect.poll(() => readLater('free')).toMatchObject({ content: 'half and half' })
      expect(await readAnswer('held')).toMatchObject({ content: '' })
    })
    await expect.poll(() => readLater('held')).toMatchObject({ content: 'half and half', status: 'streaming' })
    for (const { answer } of [held, free]) {
      expect(answer.request.signal.aborted).toBe(false)
      answer.end()
    }
    await Promise.all(responses.map(readParts))
  })

  it('returns the answer’s text wherever it is cut, without the reasoning', async () => {
    const { saveOnce } = watchSaves()
    const { answer, response } = await begin('pieces')
    const parts = readParts(await response)
    const text = 'Ebb 😀 & "flut" \\ 汉字 🙂👩‍🚀 '.repeat(20)
    answer.think('Hm 🤔')
    for (let start = 0, state = 7; start < text.length; ) {
      state = (Math.imul(state, 1_103_515_245) + 12_345) >>> 0
      const end = start + 1 + ((state >>> 16) % 30)
      answer.say(text.slice(start, end))
      start = end
      await saveOnce()
      expect(text.startsWith((await readAnswer('pieces')).content)).toBe(true)
    }
    answer.think('Hm.')
    await saveOnce()
    expect(await readAnswer('pieces')).toMatchObject({ content: text, status: 'streaming' })
    answer.end()
    await parts
  })
})
