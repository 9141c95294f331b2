import { Readable } from 'node:stream'
import { expect, it, vi } from 'vitest'
import { callWithFallback, streamWithFallback } from './fallback.ts'
import { LlmError, type LlmErrorCode } from './llm.ts'

type Model = { name: string; fallback?: string; events: AsyncIterable<string> | LlmErrorCode }

const readAll = (events: AsyncIterable<string>) => Readable.from(events).toArray()

async function* yieldAll(...events: (string | Error)[]): AsyncGenerator<string> {
  for (const event of events) {
    if (event instanceof Error) throw event
    yield event
  }
}

async function* countOpen(counts: { open: number }): AsyncGenerator<string> {
  counts.open += 1
  try {
    yield 'a'
    yield 'b'
  } finally {
    counts.open -= 1
  }
}

function chain(...models: Model[]) {
  const [first] = models
  if (!first) throw new Error('no model')
  const onFallback = vi.fn()
  const called: string[] = []
  const open = async ({ name, events }: Model) => {
    called.push(name)
    if (typeof events === 'string') throw new LlmError(events, 'it failed')
    return events
  }
  const options = { models: new Map(models.map((model) => [model.name, model])), onFallback }
  return { options, first, open, called, onFallback }
}

const good: Model = { name: 'good', events: yieldAll('a', 'b') }

it.each(['model_rate_limited', 'model_failed', 'model_unreachable', 'model_timeout'] as const)(
  'the fallback answers after %s, and its name is returned',
  async (code) => {
    const { options, first, open, onFallback } = chain(
      { name: 'bad', fallback: 'good', events: code },
      { ...good, events: yieldAll('a', 'b') },
    )
    const { model, events } = await streamWithFallback(options, first, open)
    expect([model.name, await readAll(events)]).toEqual(['good', ['a', 'b']])
    expect(onFallback.mock.calls).toEqual([
      [{ model: 'bad', fallback: 'good', error: expect.objectContaining({ code }) }],
    ])
  },
)

it.each(['model_rejected', 'model_unauthorized', 'model_protocol'] as const)(
  'no fallback is called after %s',
  async (code) => {
    const { options, first, open, called } = chain({ name: 'bad', fallback: 'good', events: code }, good)
    await expect(streamWithFallback(options, first, open)).rejects.toMatchObject({ code })
    expect(called).toEqual(['bad'])
  },
)

it('no fallback is called after another error, such as a stop', async () => {
  const { options, first } = chain({ name: 'bad', fallback: 'good', events: 'model_failed' }, good)
  const stop = new Error('stopped')
  await expect(callWithFallback(options, first, () => Promise.reject(stop))).rejects.toBe(stop)
  expect(options.onFallback).not.toHaveBeenCalled()
})

it('fallbacks are called in their order, and the last error is thrown', async () => {
  const { options, first, open, called } = chain(
    { name: 'a', fallback: 'b', events: 'model_rate_limited' },
    { name: 'b', fallback: 'c', events: 'model_unreachable' },
    { name: 'c', events: 'model_timeout' },
  )
  await expect(streamWithFallback(options, first, open)).rejects.toMatchObject({ code: 'model_timeout' })
  expect(called).toEqual(['a', 'b', 'c'])
})

it('a stream that fails before its first event falls back; one that fails later does not', async () => {
  const failure = new LlmError('model_failed', 'it failed')
  const early = chain({ name: 'bad', fallback: 'good', events: yieldAll(failure) }, { ...good, events: yieldAll('a') })
  const { model, events } = await streamWithFallback(early.options, early.first, early.open)
  expect([model.name, await readAll(events)]).toEqual(['good', ['a']])

  const late = chain({ name: 'bad', fallback: 'good', events: yieldAll('half', failure) }, good)
  const begun = await streamWithFallback(late.options, late.first, late.open)
  await expect(readAll(begun.events)).rejects.toBe(failure)
  expect(late.called).toEqual(['bad'])
})

it('leaving the stream early closes the model’s', async () => {
  const counts = { open: 0 }
  const { options, first, open } = chain({ name: 'a', fallback: 'good', events: countOpen(counts) }, good)
  const { events } = await streamWithFallback(options, first, open)
  expect(counts.open).toBe(1)
  for await (const _ of events) break
  expect(counts.open).toBe(0)
})
