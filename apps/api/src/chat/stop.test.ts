import { AsyncLocalStorage } from 'node:async_hooks'
import { connect, sql } from '@repo/db'
import { startApi, startScriptedServer, until } from '@repo/testing/processes'
import { createScriptedModel } from '@repo/testing/scripted-model'
import { joinText, listTypes, post, readDelta, readParts, streamParts } from '@repo/testing/ui-stream'
import { afterAll, describe, expect, it } from 'vitest'
import { testApp } from '../testing.ts'

const model = createScriptedModel()
const { app, store, test, alice, bob, listen, close } = await testApp({ llm: model.llm })
const direct = connect({ url: test.directDatabaseUrl, poolSize: 1 })
afterAll(() => Promise.all([direct.close(), close()]))
const here = await listen()
const env = { DATABASE_URL: test.databaseUrl, AUTH: 'required' }
const { url: elsewhere } = await startApi(env)
const places = [
  ['the same process', here],
  ['another process', elsewhere],
] as const

const stop = async (url: string, id: string, headers = alice) =>
  (await fetch(`${url}/chat/${id}/stop`, { method: 'POST', headers })).status
const resume = (url: string, id: string, lastEventId?: string) =>
  fetch(`${url}/chat/${id}/stream`, { headers: { ...alice, ...(lastEventId && { 'last-event-id': lastEventId }) } })
const readAnswer = async (id: string) =>
  (await app.inject({ url: `/conversations/${id}`, headers: alice })).json().messages?.at(-1)
const ask = (url: string, conversationId: string) =>
  post(`${url}/chat`, alice, { message: 'a question', conversationId })
const stopped = [{ type: 'abort', reason: 'stopped' }, { type: '[DONE]' }]

const begin = async (conversationId: string) => {
  const pending = ask(here, conversationId)
  const answer = await model.takeAnswer()
  answer.say('half')
  const parts = streamParts(await pending)
  await readDelta(parts)
  return { answer, parts }
}

describe.each(places)('requested from %s', (name, url) => {
  const idOf = (what: string) => `${what}-${name.replaceAll(' ', '-')}`

  it('cancels the model call at once, keeps all of the text, and lets the conversation continue', async ({
    annotate,
  }) => {
    const id = idOf('stopped')
    const { answer, parts } = await begin(id)
    answer.say(', which is not stored yet 😀')
    await readDelta(parts)
    const hungUpAt = new Promise<number>((resolve) =>
      answer.request.signal.addEventListener('abort', () => resolve(performance.now())),
    )
    const askedAt = performance.now()
    expect(await stop(url, id)).toBe(204)
    const tookMs = Math.round((await hungUpAt) - askedAt)
    await annotate(`the model was hung up on ${tookMs} ms after ${name} was asked to stop`)
    expect((await readParts(parts)).slice(-2)).toEqual(stopped)
    const stored = await readAnswer(id)
    expect(stored).toMatchObject({ content: 'half, which is not stored yet 😀', status: 'stopped' })

    const next = await begin(id)
    expect(await stop(url, id)).toBe(204)
    await readParts(next.parts)
    for (const [, from] of places) {
      const replayed = await readParts(await resume(from, id, `${stored.id}.4`))
      expect(joinText(replayed)).toBe(', which is not stored yet 😀')
      expect(replayed.slice(-2)).toEqual(stopped)
    }
  })

  it('has no effect when the answer has ended or has been stopped by another request', async () => {
    const id = idOf('twice')
    const { parts } = await begin(id)
    expect(await Promise.all(places.flatMap(([, from]) => [stop(from, id), stop(from, id)]))).toEqual([
      204, 204, 204, 204,
    ])
    await readParts(parts)
    const stored = await readAnswer(id)
    expect(await stop(url, id)).toBe(204)
    expect(await readAnswer(id)).toEqual(stored)
    const next = await begin(id)
    next.answer.end()
    expect(listTypes(await readParts(next.parts)).slice(-2)).toEqual(['finish', '[DONE]'])
  })

  it('204 for an unknown and for another owner’s conversation, whose answer continues', async () => {
    const id = idOf('not-yours')
    const { answer, parts } = await begin(id)
    expect(await stop(url, id, bob)).toBe(204)
    expect(await stop(url, 'unknown')).toBe(204)
    answer.say(' and half')
    answer.end()
    expect(listTypes(await readParts(parts)).slice(-2)).toEqual(['finish', '[DONE]'])
    expect(await readAnswer(id)).toMatchObject({ content: 'half and half', status: 'complete' })
  })

  it('deleting a conversation stops its answer first', async () => {
    const id = idOf('deleted')
    const { answer, parts } = await begin(id)
    const deleted = await fetch(`${url}/conversations/${id}`, { method: 'DELETE', headers: alice })
    expect(deleted.status).toBe(204)
    expect(answer.request.signal.aborted).toBe(true)
    expect((await readParts(parts)).slice(-2)).toEqual(stopped)
    expect((await resume(url, id)).status).toBe(204)
    expect((await app.inject({ url: `/conversations/${id}`, headers: alice })).statusCode).toBe(404)
  })
})

it('stops an answer while its question is being stored or its passages are being retrieved', async () => {
  const owner = await store.owners.ensure('alice')
  const isWaiting = sql`datname = current_database() and wait_event_type = 'Lock'`
  const outside = AsyncLocalStorage.snapshot() // no request may be sent inside a transaction
  for (const [id, table, query] of [
    ['storing', 'messages', '%insert into%'], // excludes the sweep for abandoned answers, which waits too
    ['finding', 'chunks', '%'],
  ] as const) {
    const { asked } = await direct.db.transaction(async (tx) => {
      await tx.execute(sql`lock table ${sql.identifier(table)}`)
      const asked = outside(() => ask(here, id))
      await expect
        .poll(async () => {
          const waiting = sql`select from pg_stat_activity where ${isWaiting} and query like ${query}`
          return (await app.db.execute(waiting)).length // outside a transaction, which would see one snapshot
        })
        .toBe(1)
      void app.chat.stop(owner, id)
      return { asked }
    })
    expect(await readParts(await asked)).toMatchObject([{ type: 'start' }, { type: 'data-conversation' }, ...stopped])
    expect(await readAnswer(id)).toMatchObject({ content: '', status: 'stopped' })
  }
  expect(model.answers).toEqual([])
})

it('stops the answer that was running at the time of the request, and not the next one', async () => {
  const owner = await store.owners.ensure('alice')
  const turn = { conversationId: 'next', title: 'a title', questionId: 'q', question: 'a question', answerId: 'a' }
  await store.turns.open(owner, turn)
  const stopping = stop(here, 'next')
  await until(async () => (await store.answers.listStopRequests()).includes('a'))
  const nothing = {
    sources: [],
    finishReason: null,
    inputTokens: null,
    outputTokens: null,
    cachedTokens: null,
    error: null,
  }
  await store.answers.finish(owner, turn, { ...nothing, parts: [], status: 'stopped' })
  await store.turns.open(owner, { ...turn, questionId: 'q2', answerId: 'a2' })
  expect(await stopping).toBe(204)
  expect(await store.answers.listStopRequests()).toEqual([])
  expect(await readAnswer('next')).toMatchObject({ id: 'a2', status: 'streaming' })
})

describe('a process that was killed', () => {
  it('loses only the last part of its text; another process can stop, resume and follow its answer', async ({
    annotate,
  }) => {
    const vendor = await startScriptedServer()
    const api = await startApi({ ...env, ...vendor.env })
    const pending = ask(api.url, 'killed')
    const answer = await vendor.takeAnswer()
    const said: { length: number; at: number }[] = []
    let text = ''
    const speaking = setInterval(() => {
      const word = `word ${said.length} 😀`
      text += word
      answer.say(word)
      said.push({ length: text.length, at: performance.now() })
    }, 20)
    const reader = streamParts(await pending)
    while (said.length < 150) await readDelta(reader)
    const heard = text.length
    await until(async () => (await readAnswer('killed')).content.length >= heard)
    api.child.kill('SIGKILL')
    const killedAt = performance.now()
    clearInterval(speaking)
    await api.ended

    const stored = (await readAnswer('killed')).content
    expect(text.startsWith(stored)).toBe(true)
    expect(stored.length).toBeGreaterThanOrEqual(heard)
    const lostMs = killedAt - (said.find(({ length }) => length > stored.length)?.at ?? killedAt)
    await annotate(`kill -9 lost the last ${Math.round(lostMs)} ms of an answer's text`)

    const followed = await resume(elsewhere, 'killed')
    expect(await stop(elsewhere, 'killed')).toBe(204)
    const parts = await readParts(followed)
    expect(joinText(parts)).toBe(stored)
    expect(parts.slice(-2)).toEqual(stopped)
    expect(await readAnswer('killed')).toMatchObject({ content: stored, status: 'stopped' })
    const next = await ask(elsewhere, 'killed')
    expect(listTypes(await readParts(next)).slice(-2)).toEqual(['finish', '[DONE]'])
  })

  it('detects from the database alone that its answer was stopped, and stores all of its text', async () => {
    const vendor = await startScriptedServer()
    const api = await startApi({ ...env, ...vendor.env })
    const pending = ask(api.url, 'paused')
    const answer = await vendor.takeAnswer()
    answer.say('half')
    const reader = streamParts(await pending)
    await readDelta(reader)
    await until(async () => (await readAnswer('paused')).content === 'half')
    answer.say(' and half')
    await readDelta(reader)
    api.child.kill('SIGSTOP')
    expect(await stop(elsewhere, 'paused')).toBe(204)
    expect(await readAnswer('paused')).toMatchObject({ content: expect.stringMatching(/^half/), status: 'stopped' })
    api.child.kill('SIGCONT')
    expect((await readParts(reader)).slice(-2)).toEqual(stopped)
    await until(answer.isHungUp)
    expect(await readAnswer('paused')).toMatchObject({ content: 'half and half', status: 'stopped' })
  })
})
