import { createClient } from '@repo/measure/client'
import { createTimes } from '@repo/measure/summary'

export type Request = { url: string; method: string; headers: [name: string, value: string][]; body: string }
export type Streams = ReturnType<typeof createStreams>

const pauseMs = 1000 // between two starts in place of one another; refusals and short answers come back at once
const atOnce = 10 // streams that may be queued: more would let pools grow further, and load the server more
const longestMs = 1000 // a cheap request is given up after this, so that it counts while its cause is measured

/**
 * Keeps streams open, and starts others in place of those that end. A stream is queued until the first byte of its body,
 * and then open until its end. Ten start at once, so that a pool that grows on demand has grown when they are open.
 */
export function createStreams(request: Request) {
  const client = createClient(request.url)
  const counts = { open: 0, queued: 0 }
  const failures: Record<string, number> = {} // by status, or by the code of a broken connection
  const lifetimes = createTimes()
  let [wanted, taken, sent] = [0, 0, 0]

  const fill = () => {
    while (taken < wanted && counts.queued < atOnce) start()
  }
  const start = () => {
    const startedAt = performance.now()
    let [isGood, openedAt]: [boolean, number | undefined] = [false, undefined]
    const leave = (failure?: string) => {
      counts[openedAt === undefined ? 'queued' : 'open'] -= 1
      if (failure) failures[failure] = (failures[failure] ?? 0) + 1
      else lifetimes.record(performance.now() - (openedAt ?? performance.now()))
      const release = () => {
        taken -= 1
        fill()
      }
      setTimeout(release, startedAt + pauseMs - performance.now()).unref()
      fill()
    }
    taken += 1
    counts.queued += 1
    client.send(toBytes(request, ++sent), {
      onHead: (status) => {
        isGood = status >= 200 && status < 300
        if (!isGood) leave(`status ${status}`)
      },
      onBody: (_, from, to) => {
        if (!isGood || openedAt !== undefined || from === to) return
        openedAt = performance.now()
        counts.queued -= 1
        counts.open += 1
        fill()
      },
      onEnd: () => isGood && leave(),
      onFail: leave,
      onAbandon: () => {},
    })
  }
  return {
    counts,
    failures,
    lifetimes,
    keep: (streams: number): void => {
      wanted = streams
      fill()
    },
    /** Closes all streams. */
    close: (): void => {
      wanted = 0
      client.close()
    },
  }
}

/** Returns a request as bytes of HTTP/1.1. `{n}` becomes the number of the stream. */
function toBytes({ url, method, headers, body }: Request, number: number): string {
  const fill = (text: string) => text.replaceAll('{n}', `${number}`)
  const { host, pathname, search } = new URL(fill(url))
  const content = fill(body)
  const defaults: typeof headers = [['host', host], ['accept', '*/*'], ...(content ? [json] : [])]
  const all = new Map([...defaults, ...headers, ['content-length', `${Buffer.byteLength(content)}`]])
  const lines = [...all].map(([name, value]) => `${name}: ${fill(value)}\r\n`)
  return `${method} ${pathname}${search} HTTP/1.1\r\n${lines.join('')}\r\n${content}`
}

const json: [string, string] = ['content-type', 'application/json']

/** Times a route ten times per second, whether or not earlier requests have ended. */
export function startTiming(url: string) {
  let [times, failed] = [createTimes(), 0]
  const send = async () => {
    const sentAt = performance.now()
    try {
      await (await fetch(url, { signal: AbortSignal.timeout(longestMs) })).arrayBuffer()
    } catch (error) {
      if (!(error instanceof Error && error.name === 'TimeoutError')) failed += 1
    }
    times.record(performance.now() - sentAt)
  }
  const timer = setInterval(send, 100)
  return {
    /** Returns the statistics since the last call. */
    take: () => {
      const taken = { ...times.summarize(), failed }
      ;[times, failed] = [createTimes(), 0]
      return taken
    },
    close: (): void => clearInterval(timer),
  }
}
