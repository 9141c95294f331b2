import {
  guardCallback,
  guardPg,
  guardPostgres,
  type PgPool,
  type PostgresClient,
  type TransactionRunner,
} from './adapters.ts'
import { createHolds, type Hold } from './holds.ts'
import { watchNetwork } from './network.ts'
import { findPlace, recordCall, type Trace } from './places.ts'

export type { PgPool, PostgresClient, TransactionRunner }

export type GuardOptions = {
  /** `throw` makes the call fail before it is sent. `warn` prints each pair of places once. Default: `warn`. */
  mode?: 'throw' | 'warn' | 'count' | 'off'
  /** Hosts that may be called, with or without their port: `localhost:9000`. */
  allow?: string[]
  /** Called for each report, in every mode. It must not throw. */
  onReport?: (report: Report) => void
}

/** A call that was made while a connection was held. */
export type Report = {
  /** For example `POST https://api.example.com/v1/chat`. */
  call: string
  /** Where the transaction began or the connection was taken. */
  takenAt: string
  /** Where the call was made. */
  calledAt: string
}

/** Another server was called while the caller held a database connection. This is always a bug in the caller. */
export class ConnectionHeldError extends Error {
  code = 'connection_held' as const
  report: Report

  constructor(report: Report) {
    super(describe(report))
    this.name = 'ConnectionHeldError'
    this.report = report
  }
}

export type Guard = {
  /** Guards `begin` and `reserve` of a postgres.js client. Returns the same client. */
  postgres: <T extends PostgresClient>(sql: T) => T
  /** Guards clients taken from a pool of `pg`. Returns the same pool. */
  pg: <T extends PgPool>(pool: T) => T
  /** Guards `transaction` of a Drizzle database. Returns the same database. */
  drizzle: <T extends TransactionRunner>(db: T) => T
  /** Wraps the callback of a transaction of any other library. */
  hold: <T extends (...args: never[]) => unknown>(callback: T) => T
  /** Reports a call that is not HTTP, if the caller holds a connection. Throws `ConnectionHeldError` with `throw`. */
  check: (call?: string) => void
  /** Returns how many calls were reported. */
  count: () => number
  /** Ends the guard's watch over the network. */
  stop: () => void
}

/** Reports calls of other servers that are made while the same async context holds a database connection. */
export function createGuard({ mode = 'warn', allow = [], onReport }: GuardOptions = {}): Guard {
  if (mode === 'off') return disabled
  const holds = createHolds()
  const warn = createWarner()
  let count = 0

  /** Calls `reject` with the error if the mode asks for it. */
  function report(hold: Hold, call: string, trace: Trace, reject: (error: Error) => boolean): void {
    count += 1
    const error = new ConnectionHeldError({ call, takenAt: findPlace(hold.origin), calledAt: findPlace(trace) })
    onReport?.(error.report)
    if (mode === 'warn' || (mode === 'throw' && !reject(error))) warn(error)
  }
  function check(call = 'A slow operation'): void {
    const hold = holds.find(check)
    if (hold) report(hold, call, recordCall(check), fail)
  }
  const stop = watchNetwork((read, below) => {
    const hold = holds.find(below)
    if (!hold) return
    const { url, method, reject } = read()
    if (allow.includes(url.host) || allow.includes(url.hostname)) return
    report(hold, `${method} ${url}`, recordCall(below), reject)
  })
  return {
    postgres: (sql) => guardPostgres(sql, holds),
    pg: (pool) => guardPg(pool, holds),
    drizzle: (db) => guardCallback(db, 'transaction', holds),
    hold: function hold(callback) {
      return holds.wrap(callback, hold)
    },
    ...{ check, count: () => count, stop },
  }
}

function fail(error: Error): never {
  throw error
}

/** Returns a function that prints the warning of each pair of places once. */
function createWarner() {
  const warned = new Set<string>()
  return ({ message, report: { takenAt, calledAt } }: ConnectionHeldError) => {
    const places = `${takenAt} ${calledAt}`
    if (warned.has(places)) return
    warned.add(places)
    process.emitWarning(message, { type: 'ConnectionHeldWarning', code: 'connection_held' })
  }
}

const disabled: Guard = {
  postgres: (sql) => sql,
  pg: (pool) => pool,
  drizzle: (db) => db,
  hold: (callback) => callback,
  check: () => {},
  count: () => 0,
  stop: () => {},
}

function describe({ call, takenAt, calledAt }: Report): string {
  return `${call} was called while a database connection is held. End the transaction or release the connection first. Taken at ${takenAt}, called at ${calledAt}.`
}
