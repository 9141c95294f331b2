import { randomUUID } from 'node:crypto'
import type { Config } from '@repo/config'
import type { Store, Usage } from '@repo/db'
import { describeError } from '@repo/telemetry'
import type { FastifyBaseLogger, FastifyInstance } from 'fastify'
import fp from 'fastify-plugin'
import { repeat } from '../repeat.ts'
import { ProblemError } from './errors.ts'

declare module 'fastify' {
  interface FastifyContextConfig {
    /** A request to this route makes a model or an embedder work, or `later` a worker: it counts towards its owner's limit. */
    isCostly?: boolean | 'later'
  }
}

export type OwnerLimits = {
  /** Counts a request that costs something. Throws `ProblemError` 429 when the owner has had all of this minute. */
  countRequest: (owner: string) => void
  /** Counts an answer that begins, until `leaveStream`. Throws `ProblemError` 429 when the owner has enough of them. */
  takeStream: (owner: string) => void
  leaveStream: (owner: string) => void
  close: () => void
}

export type OwnerLimitOptions = {
  config: Pick<Config, 'OWNER_REQUESTS_PER_MINUTE' | 'OWNER_STREAMS'>
  store: Store
  log: FastifyBaseLogger
}

const minuteMs = 60_000
const exchangeIntervalMs = 1000 // what arrives in this time on other processes is how far a limit can be overrun
const freshMs = 5000 // five missed exchanges: who has said nothing for so long is dead, or the database is away
const streamRetrySeconds = 5 // nobody knows when an answer ends; most take a few seconds

/** What this process knows of an owner. */
type Entry = {
  minute: number
  own: Usage
  others: Usage
  /** As `Date.now()` tells it: when something of the owner's last began or ended here, and when others were heard of. */
  activeAt: number
  heardAt: number
}

/**
 * Limits of what an owner may cost, shared by all processes on one database. Each counts its own in memory and admits or
 * refuses from there: no request waits for this. Once a second it tells the others, in one statement for all owners who
 * have just asked for something or whose answers run; a process without such owners sends nothing. So a limit can be
 * overrun by what other processes admit within about a second, and by no more than the limit itself on each. While the
 * database is away each process goes by what it counts itself. Minutes are those of the machines' clocks.
 */
export function createOwnerLimits({ config, store, log }: OwnerLimitOptions): OwnerLimits {
  const { OWNER_REQUESTS_PER_MINUTE: maxRequests, OWNER_STREAMS: maxStreams } = config
  if (maxRequests === undefined && maxStreams === undefined) return unlimited
  const entries = new Map<string, Entry>()
  const exchange = createExchange(store, entries)
  const tell = (error: unknown) =>
    log.warn({ error: describeError(error) }, 'limits of owners could not be shared: each process goes by its own')

  const open = (owner: string): Entry => {
    const entry = entries.get(owner) ?? createEntry()
    entries.set(owner, entry)
    entry.activeAt = Date.now()
    return renew(entry, entry.activeAt)
  }

  return {
    countRequest: (owner) => {
      const { own, others } = open(owner)
      if (maxRequests !== undefined && own.requests + others.requests >= maxRequests) throw tooManyRequests(maxRequests)
      own.requests += 1
    },
    takeStream: (owner) => {
      const { own, others } = open(owner)
      if (maxStreams !== undefined && own.streams + others.streams >= maxStreams) throw tooManyStreams(maxStreams)
      own.streams += 1
    },
    leaveStream: (owner) => {
      open(owner).own.streams -= 1
    },
    close: repeat(exchangeIntervalMs, exchange, tell),
  }
}

const unlimited: OwnerLimits = { countRequest: () => {}, takeStream: () => {}, leaveStream: () => {}, close: () => {} }

/** Tells the other processes what is counted here, and hears of them; forgets owners who have long done nothing. */
function createExchange(store: Store, entries: Map<string, Entry>): () => Promise<void> {
  const processId = randomUUID()
  let sweptAt = 0
  return async () => {
    const now = Date.now()
    for (const [owner, entry] of entries) if (isForgettable(entry, now)) entries.delete(owner)
    const active = [...entries].filter(([, entry]) => isActive(entry, now))
    if (active.length === 0) return
    const minute = new Date(toMinute(now))
    const own = active.map(([owner, entry]) => ({ owner, minute, ...renew(entry, now).own }))
    const heard = await store.usage.exchange(processId, own, freshMs)
    for (const [owner, entry] of active) hear(entry, toMinute(now), heard.get(owner))
    if (now - sweptAt < minuteMs) return
    sweptAt = now
    await store.usage.sweep()
  }
}

function createEntry(): Entry {
  return {
    minute: 0,
    own: { requests: 0, streams: 0 },
    others: { requests: 0, streams: 0 },
    activeAt: 0,
    heardAt: 0,
  }
}

const toMinute = (time: number) => time - (time % minuteMs)

/** Forgets what counted for an earlier minute, and what was heard too long ago to be believed. */
function renew(entry: Entry, now: number): Entry {
  const minute = toMinute(now)
  if (entry.minute !== minute) {
    entry.minute = minute
    entry.own.requests = 0
    entry.others.requests = 0
  }
  if (now - entry.heardAt > freshMs) entry.others.streams = 0
  return entry
}

function hear(entry: Entry, minute: number, others: Usage = { requests: 0, streams: 0 }): void {
  entry.heardAt = Date.now()
  entry.others.streams = others.streams
  if (entry.minute === minute) entry.others.requests = others.requests
}

function isActive({ own, activeAt }: Entry, now: number): boolean {
  return own.streams > 0 || now - activeAt < freshMs
}

function isForgettable(entry: Entry, now: number): boolean {
  return !isActive(entry, now) && entry.minute !== toMinute(now)
}

function tooManyRequests(limit: number): ProblemError {
  const retryAfterSeconds = (minuteMs - (Date.now() % minuteMs)) / 1000
  const detail = `You may make ${limit} requests a minute that cost something; try again when the next one begins.`
  return new ProblemError(429, 'rate_limited', detail, { retryAfterSeconds, extra: { limit } })
}

function tooManyStreams(limit: number): ProblemError {
  const detail = `${limit} of your answers may be written at once; wait for the end of one, or stop it.`
  return new ProblemError(429, 'too_many_streams_of_owner', detail, {
    retryAfterSeconds: streamRetrySeconds,
    extra: { limit },
  })
}

/** Counts each request to a costly route, before its body is read. It comes after auth, which knows the owner. */
async function limitByOwner(app: FastifyInstance, { ownerLimits }: { ownerLimits: OwnerLimits }) {
  app.addHook('onRequest', async ({ routeOptions, owner }) => {
    if (routeOptions.config.isCostly) ownerLimits.countRequest(owner)
  })
}

export default fp(limitByOwner, { name: 'limits-by-owner', dependencies: ['auth'] })
