import { randomUUID } from 'node:crypto'
import { setImmediate as nextTurn, setTimeout as sleep } from 'node:timers/promises'
import type { Config } from '@repo/config'
import type { Store, Usage, UsageRecorder, UsageRow } from '@repo/db'
import { describeError } from '@repo/telemetry'
import type { FastifyBaseLogger, FastifyInstance } from 'fastify'
import fp from 'fastify-plugin'
import { repeat } from '../repeat.ts'
import { createBudgetCheck } from './budgets.ts'
import { ProblemError } from './errors.ts'

declare module 'fastify' {
  interface FastifyContextConfig {
    /** Counts requests to this route towards OWNER_REQUESTS_PER_MINUTE. `'deferred'`: a worker calls the model later. */
    rateLimit?: boolean | 'deferred'
  }
}

export type Quotas = {
  /** Counts a rate-limited request. Throws `ProblemError` 429 when the owner has reached the limit of this minute. */
  countRequest: (owner: string) => void
  /** Counts a running answer until `releaseStream`. Throws `ProblemError` 429 when the owner has reached the limit. */
  acquireStream: (owner: string) => void
  releaseStream: (owner: string) => void
  /** Ends the syncs, and stores what models have been used for since the last one. */
  close: () => Promise<void>
}

export type QuotaOptions = {
  config: Pick<Config, 'OWNER_REQUESTS_PER_MINUTE' | 'OWNER_STREAMS'>
  store: Store
  /** What it has counted is stored with each sync. */
  usage: UsageRecorder
  log: FastifyBaseLogger
}

const minuteMs = 60_000
const mergeIntervalMs = 10 * minuteMs // rows of days that are over may wait
const closeTimeoutMs = 2000 // an unreachable database must not delay the exit
const syncIntervalMs = 1000 // requests that other processes accept in this time can exceed a limit
const freshMs = 5000 // five missed syncs: the other process has crashed, or the database is unavailable
const streamRetrySeconds = 5 // most answers end within a few seconds

/** The usage of one owner, as this process knows it. */
type Entry = {
  minute: number
  own: Usage
  others: Usage
  /** When a request or answer of this owner last started or ended here. Milliseconds, as in `performance.now()`. */
  activeAt: number
  /** When the usage on other processes was last read. */
  syncedAt: number
}

/**
 * Creates the per-owner limits, which all processes on one database share. Each process counts in memory, so no request
 * waits. Once per second it syncs the counts of its active owners in one statement. A limit can therefore be exceeded by
 * what other processes accept within about a second. While the database is unavailable, each process applies the limit
 * to its own count. Minutes follow the machine's clock. The same statement stores what models were used for.
 */
export function createQuotas({ config, store, usage, log }: QuotaOptions): Quotas {
  const entries = new Map<string, Entry>()
  const sync = createSync(store, entries, usage)
  const warn = (error: unknown) =>
    log.warn({ error: describeError(error) }, 'failed to sync quotas and usage; each process keeps its own count')
  const stop = repeat(syncIntervalMs, sync, warn)
  const close = async () => {
    stop()
    await nextTurn() // calls of models that were cancelled now are counted first
    await Promise.race([usage.flush(store.usage.store).catch(warn), sleep(closeTimeoutMs, undefined, { ref: false })])
  }
  return { ...createCounters(config, entries), close }
}

function createCounters(config: QuotaOptions['config'], entries: Map<string, Entry>): Omit<Quotas, 'close'> {
  const { OWNER_REQUESTS_PER_MINUTE: maxRequests, OWNER_STREAMS: maxStreams } = config
  if (maxRequests === undefined && maxStreams === undefined) return unlimited
  const open = (owner: string): Entry => {
    const entry = entries.get(owner) ?? createEntry()
    entries.set(owner, entry)
    entry.activeAt = performance.now()
    return expire(entry, Date.now())
  }

  return {
    countRequest: (owner) => {
      const { own, others } = open(owner)
      if (maxRequests !== undefined && own.requests + others.requests >= maxRequests) throw tooManyRequests(maxRequests)
      own.requests += 1
    },
    acquireStream: (owner) => {
      const { own, others } = open(owner)
      if (maxStreams !== undefined && own.streams + others.streams >= maxStreams) throw tooManyStreams(maxStreams)
      own.streams += 1
    },
    releaseStream: (owner) => {
      open(owner).own.streams -= 1
    },
  }
}

const unlimited: Omit<Quotas, 'close'> = { countRequest: () => {}, acquireStream: () => {}, releaseStream: () => {} }

/**
 * Returns a function that shares the counts of this process, reads those of the others, and drops idle owners. Without
 * active owners it stores what models were used for, if there is anything to store.
 */
function createSync(store: Store, entries: Map<string, Entry>, usage: UsageRecorder): () => Promise<void> {
  const processId = randomUUID()
  const sweep = every(minuteMs, store.usage.sweep)
  const mergeAll = async () => {
    while ((await store.usage.merge()) > 0);
  }
  const mergeDays = every(mergeIntervalMs, mergeAll, performance.now())
  return async () => {
    const now = Date.now()
    for (const [owner, entry] of entries) if (isExpired(entry, now)) entries.delete(owner)
    const active = [...entries].filter(([, entry]) => isActive(entry))
    const minute = new Date(toMinute(now))
    const exchange = async (rows: UsageRow[]) => {
      const own = active.map(([owner, entry]) => ({ owner, minute, ...expire(entry, now).own }))
      const others = await store.usage.sync(processId, own, freshMs, rows)
      for (const [owner, entry] of active) merge(entry, toMinute(now), others.get(owner))
      await sweep()
    }
    await usage.flush(active.length > 0 ? exchange : store.usage.store)
    await mergeDays()
  }
}

/** Returns a function that does some work unless it was done in the last `intervalMs`. */
function every(intervalMs: number, work: () => Promise<void>, doneAt = Number.NEGATIVE_INFINITY): () => Promise<void> {
  return async () => {
    if (performance.now() - doneAt < intervalMs) return
    doneAt = performance.now()
    await work()
  }
}

function createEntry(): Entry {
  return {
    minute: 0,
    own: { requests: 0, streams: 0 },
    others: { requests: 0, streams: 0 },
    activeAt: Number.NEGATIVE_INFINITY,
    syncedAt: Number.NEGATIVE_INFINITY,
  }
}

const toMinute = (time: number) => time - (time % minuteMs)

/** Resets the counts of an earlier minute, and counts from other processes that are out of date. */
function expire(entry: Entry, now: number): Entry {
  const minute = toMinute(now)
  if (entry.minute !== minute) {
    entry.minute = minute
    entry.own.requests = 0
    entry.others.requests = 0
  }
  if (performance.now() - entry.syncedAt > freshMs) entry.others.streams = 0
  return entry
}

function merge(entry: Entry, minute: number, others: Usage = { requests: 0, streams: 0 }): void {
  entry.syncedAt = performance.now()
  entry.others.streams = others.streams
  if (entry.minute === minute) entry.others.requests = others.requests
}

function isActive({ own, activeAt }: Entry): boolean {
  return own.streams > 0 || performance.now() - activeAt < freshMs
}

function isExpired(entry: Entry, now: number): boolean {
  return !isActive(entry) && entry.minute !== toMinute(now)
}

function tooManyRequests(limit: number): ProblemError {
  const retryAfterSeconds = (minuteMs - (Date.now() % minuteMs)) / 1000
  const detail = `Rate limit exceeded: ${limit} requests per minute. Try again in the next minute.`
  return new ProblemError(429, 'rate_limited', detail, { retryAfterSeconds, extra: { limit } })
}

function tooManyStreams(limit: number): ProblemError {
  const detail = `Too many concurrent answers: the limit is ${limit}. Wait for one to end, or stop it.`
  return new ProblemError(429, 'owner_stream_limit', detail, {
    retryAfterSeconds: streamRetrySeconds,
    extra: { limit },
  })
}

type EnforceOptions = { quotas: Quotas; config: Pick<Config, 'OWNER_TOKENS_PER_DAY'>; usage: UsageRecorder }

/** Counts each request to a rate-limited route before its body is read. Runs after auth, which sets the owner. */
async function enforceQuotas(app: FastifyInstance, { quotas, config, usage }: EnforceOptions) {
  const checkBudget = createBudgetCheck(config, usage)
  app.addHook('onRequest', async (request, reply) => {
    if (!request.routeOptions.config.rateLimit) return
    const usedUp = checkBudget(request)
    if (usedUp) reply.header('x-should-retry', 'false') // OpenAI's clients would try again at once
    if (usedUp) throw usedUp
    quotas.countRequest(request.owner)
  })
}

export default fp(enforceQuotas, { name: 'quotas', dependencies: ['auth'] })
