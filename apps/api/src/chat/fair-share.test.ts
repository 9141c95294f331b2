import { createScriptedModel } from '@repo/testing/scripted-model'
import { expect, it, onTestFinished, vi } from 'vitest'
import { testApp } from '../testing.ts'
import { createFairShare } from './fair-share.ts'

const limited = { status: 429, code: 'owner_stream_limit', limit: 2 }
const full = { status: 503, code: 'too_many_streams' }

it('an owner alone takes all slots, and at most half of them while others are rejected', async () => {
  const { llm, takeAnswer } = createScriptedModel()
  const { app, alice, bob, close } = await testApp({ llm, environment: { MAX_STREAMS: '4' } })
  onTestFinished(close)
  vi.useFakeTimers({ toFake: ['performance'] }) // on a busy machine, the 5 s could pass
  onTestFinished(() => void vi.useRealTimers())
  const ask = async (headers: object) =>
    (await app.inject({ method: 'POST', url: '/chat', headers: { ...headers }, payload: { message: 'Why?' } })).json()
  /** Starts an answer, and returns the function that ends it. */
  const begin = async (headers: object) => {
    const asking = app.inject({ method: 'POST', url: '/chat', headers: { ...headers }, payload: { message: 'Why?' } })
    const answer = await takeAnswer()
    return async () => {
      answer.end()
      expect((await asking).statusCode).toBe(200)
    }
  }
  const running = [await begin(alice), await begin(alice), await begin(alice), await begin(alice)]
  const endOne = async () => running.shift()?.()

  expect(await ask(alice)).toMatchObject(full)
  await endOne()
  running.push(await begin(alice)) // nobody else was rejected

  expect(await ask(bob)).toMatchObject(full)
  await endOne()
  expect(await ask(alice)).toMatchObject(limited)
  const ends = [await begin(bob)]
  expect(await ask(bob)).toMatchObject(full)
  await endOne()
  expect(await ask(alice)).toMatchObject(limited)
  ends.push(await begin(bob))
  expect(await ask(alice)).toMatchObject(full)

  await endOne()
  running.push(await begin(alice)) // one of its half
  await ends.shift()?.()
  const refused = await app.inject({ method: 'POST', url: '/chat', headers: alice, payload: '{' })
  expect(refused.json()).toMatchObject({
    ...limited,
    detail: 'Too many concurrent answers: the limit is 2 while other owners wait. Wait for one to end, or stop it.',
  })
  expect(refused.headers['retry-after']).toBe('5')
  for (const end of [...running, ...ends]) await end()
})

it.each([
  { name: 'nobody is rejected', reject: [], mayTake: true },
  { name: 'only its own requests are rejected', reject: ['large', 'large'], mayTake: true },
  { name: 'another owner is rejected', reject: ['small'], mayTake: false },
  { name: 'an unknown owner is rejected', reject: [undefined], mayTake: false },
  { name: 'another owner was rejected 5 s ago', reject: ['small'], waitMs: 5000, mayTake: true },
])('whether a large owner gets a slot when $name: $mayTake', ({ reject, waitMs = 0, mayTake }) => {
  let nowMs = 0
  const share = createFairShare(7, () => nowMs)
  for (let n = 0; n < 3; n += 1) share.take('large')
  for (const owner of reject) share.noteRejection(owner)
  nowMs += waitMs
  const take = (owner: string) => () => share.assert(owner)
  if (mayTake) expect(take('large')).not.toThrow()
  else expect(take('large')).toThrow('the limit is 3 while other owners wait')
  expect(take('small')).not.toThrow()
  share.release('large')
  expect(take('large')).not.toThrow()
})

it('an owner is recognized by its credentials, of which the last 10,000 are remembered', () => {
  const share = createFairShare(7)
  const key = 'Bearer a key'
  share.remember('old', 'Bearer old')
  share.remember('large', key)
  expect([share.recognize(key), share.recognize('Bearer other')]).toEqual(['large', undefined])
  for (let n = 0; n < 9_999; n += 1) share.remember('other', `Bearer ${n}`)
  expect([share.recognize('Bearer old'), share.recognize(key)]).toEqual([undefined, 'large'])
})
