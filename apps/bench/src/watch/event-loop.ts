import { setTimeout as sleep } from 'node:timers/promises'

/**
 * The 99th percentile of how late the event loop was in a time that begins in `fromMs` and lasts for `lastsMs`, in ms, in
 * the process where it was latest. Undefined for a server without `/metrics`. Rejects when `signal` aborts.
 */
export async function measureEventLoop(
  url: string,
  fromMs: number,
  lastsMs: number,
  signal: AbortSignal,
): Promise<number | undefined> {
  await sleep(fromMs, undefined, { signal })
  await readDelay(url) // each reading tells of the time since the last one
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
