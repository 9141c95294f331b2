import { setTimeout as sleep } from 'node:timers/promises'

/** Calls `take` until `stop`, which calls it a last time and returns all results. Default interval: 100 ms. */
export function startSampler<Sample>(take: () => Promise<Sample>, intervalMs = 100) {
  const samples: Sample[] = []
  const stopping = new AbortController()

  const run = async () => {
    for (; !stopping.signal.aborted; await sleep(intervalMs, undefined, { signal: stopping.signal }).catch(() => {}))
      samples.push(await take())
    samples.push(await take())
  }
  const ended = run()
  ended.catch(() => {}) // `stop` reports the error
  return {
    stop: async (): Promise<Sample[]> => {
      stopping.abort()
      await ended
      return samples
    },
  }
}
