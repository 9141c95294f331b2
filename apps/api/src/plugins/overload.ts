import { monitorEventLoopDelay } from 'node:perf_hooks'
import type { FastifyInstance } from 'fastify'
import fp from 'fastify-plugin'
import { ProblemError } from './errors.ts'

declare module 'fastify' {
  interface FastifyContextConfig {
    /** A request to this route starts an answer. It is rejected at once while all answer slots are taken. */
    streamsAnswer?: boolean
    /** Served even while the process is overloaded, because it ends work or shows the overload. */
    neverShed?: boolean
  }
}

const maxDelayMs = 300 // mean over a second: tokens are then late, and each new chat makes it worse
const sampleMs = 1000
const sampleCount = 4
const lateCount = 3 // of the last four: a single stall counts once, however long it is
const resolutionMs = 10

/** Calls `onSample` once per second with the mean delay of the event loop in ms. Returns a function that ends it. */
export type WatchDelay = (onSample: (delayMs: number) => void) => () => void

/**
 * Overload protection: rejects requests at no cost, before authentication and reading the body. It sheds while the
 * event loop was late in three of the last four seconds, or while all answer slots are taken. Measuring begins when the
 * app is ready, by `listen` or by `inject`, so that start-up does not count. `@fastify/under-pressure` uses only its
 * last sample, so one stall would shed a second's requests.
 */
async function overload(
  app: FastifyInstance,
  { watchDelay = watchEventLoop }: { watchDelay?: WatchDelay | undefined },
) {
  let samples: boolean[] = [] // whether the event loop was late, oldest first
  let stopWatching = () => {}
  app.addHook('onReady', async () => {
    stopWatching = watchDelay((delayMs) => {
      samples = [...samples, delayMs > maxDelayMs].slice(-sampleCount)
    })
  })
  app.addHook('onClose', async () => stopWatching())
  app.addHook('onRequest', async ({ headers, routeOptions: { config } }) => {
    const isOverloaded = samples.filter(Boolean).length >= lateCount
    if (isOverloaded && !config.neverShed) {
      const detail = 'The server is overloaded. Try again in a moment.'
      throw new ProblemError(503, 'overloaded', detail, { retryAfterSeconds: 2 })
    }
    if (config.streamsAnswer) app.chat.assertSlot(headers.authorization ?? '')
  })
  app.addHook('preParsing', async ({ owner, headers, routeOptions: { config } }) => {
    if (config.streamsAnswer) app.chat.assertShare(owner, headers.authorization ?? '') // the first hook after `auth`
  })
}

const watchEventLoop: WatchDelay = (onSample) => {
  const delay = monitorEventLoopDelay({ resolution: resolutionMs })
  delay.enable()
  const timer = setInterval(() => {
    // Node records the time between two timer runs in ns. After a stall without any, it is NaN.
    onSample(Number.isNaN(delay.mean) ? sampleMs : delay.mean / 1e6 - resolutionMs)
    delay.reset()
  }, sampleMs).unref()
  return () => {
    clearInterval(timer)
    delay.disable()
  }
}

export default fp(overload, { name: 'overload', dependencies: ['errors'] })
