import { setTimeout as sleep } from 'node:timers/promises'

/**
 * Returns the 99th percentile of the event loop delay in ms, in the most delayed process. Measures from `fromMs` after the
 * call for `lastsMs`. Undefined for a server without `/metrics`. Rejects when `signal` aborts.
 */
export async function measureEventLoop(
  url: string,
  fromMs: number,
  lastsMs: number,
  signal: AbortSignal,
): Promise<number | undefined> {
  await sleep(fromMs, undefined, { signal })
  await readDelay(url) // each reading covers the time since the previous one
  await sleep(lastsMs, undefined, { signal })
  return readDelay(url)
}

async function readDelay(url: string): Promise<number | undefined> {
  if (!url.startsWith('http')) return undefined
  const response = await fetch(`${url}/metrics`, { signal: AbortSignal.timeout(5000) }).catch(() => undefined)
  const text = response?.ok ? await response.text().catch(() => '') : ''
  const seconds = /^sluice_event_loop_delay_seconds\{quantile="0.99"\} (\S+)$/m.exec(text)?.[1]
  return seconds === undefined ? undefined : Number(seconds) * 1000
}
