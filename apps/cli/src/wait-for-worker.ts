import { setTimeout as sleep } from 'node:timers/promises'

const pollMs = 500
const patienceMs = 30_000 // a worker takes a document from the queue within a second, and a large one within a minute

/** Reports how many of `total` the worker has done, whenever that changes, until none is left. `signal` ends it: it throws. */
export async function follow(
  countLeft: () => Promise<number>,
  total: number,
  report: (line: string) => void,
  signal?: AbortSignal,
) {
  let [last, changedAt, isTold] = [total, Date.now(), false]
  while (last > 0) {
    await sleep(pollMs, undefined, { signal })
    const left = await countLeft()
    if (left !== last) {
      report(`${total - left} of ${total} done`)
      ;[last, changedAt, isTold] = [left, Date.now(), false]
    } else if (!isTold && Date.now() - changedAt > patienceMs) {
      report('nothing happens: does a worker run (`npm run worker`)? Its log says what keeps it. The queue keeps all.')
      isTold = true
    }
  }
}
