import { setTimeout as sleep } from 'node:timers/promises'

const pollMs = 500
const patienceMs = 30_000 // a worker starts a queued document within a second and finishes a large one within a minute

/**
 * Waits until the worker has processed all `total` documents and reports each step. Warns once when nothing changes for
 * 30 seconds. Throws when `signal` is aborted.
 */
export async function waitForWorker(
  countLeft: () => Promise<number>,
  total: number,
  report: (line: string) => void,
  signal?: AbortSignal,
) {
  let [last, changedAt, hasWarned] = [total, Date.now(), false]
  while (last > 0) {
    await sleep(pollMs, undefined, { signal })
    const left = await countLeft()
    if (left !== last) {
      report(`${total - left} of ${total} done`)
      ;[last, changedAt, hasWarned] = [left, Date.now(), false]
    } else if (!hasWarned && Date.now() - changedAt > patienceMs) {
      const seconds = patienceMs / 1000
      report(
        `No progress for ${seconds} s. Is a worker running (\`npm run worker\`)? Check its log. Queued files are safe.`,
      )
      hasWarned = true
    }
  }
}
