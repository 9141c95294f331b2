import { Gauge, Registry } from '@prometheus-io/client'
import { afterEach, beforeEach, expect, it, vi } from 'vitest'
import { createLive } from './live.ts'

beforeEach(() => void vi.useFakeTimers())
afterEach(() => void vi.useRealTimers())

function createSource() {
  const registry = new Registry()
  const streams = new Gauge({ name: 'sluice_open_streams', help: 'Answers', registers: [registry] })
  const readSum = vi.fn(async () => registry)
  return { streams, readSum, live: createLive(readSum, async () => undefined) }
}

it('reads once per second for all viewers, and only while there are viewers', async () => {
  const { streams, readSum, live } = createSource()
  const shown = [vi.fn(), vi.fn()]
  await vi.advanceTimersByTimeAsync(5000)
  expect(readSum).toHaveBeenCalledTimes(0)
  streams.set(7)
  const stops = shown.map((show) => live.watch(show))
  await vi.advanceTimersByTimeAsync(3000)
  expect(readSum).toHaveBeenCalledTimes(3)
  for (const show of shown) expect(show.mock.calls.map(([sample]) => sample.openStreams)).toEqual([7, 7, 7])
  for (const stop of stops) stop()
  await vi.advanceTimersByTimeAsync(5000)
  expect(readSum).toHaveBeenCalledTimes(3)
})

it('continues after a failed reading', async () => {
  const { readSum, live } = createSource()
  const show = vi.fn()
  readSum.mockRejectedValueOnce(new Error('unavailable'))
  const stop = live.watch(show)
  await vi.advanceTimersByTimeAsync(2000)
  expect(show).toHaveBeenCalledTimes(1)
  stop()
})

it('reports null for missing PgBouncer data', async () => {
  expect(await createSource().live.read()).toMatchObject({ poolerClients: null, serversInUse: null, openStreams: 0 })
})
