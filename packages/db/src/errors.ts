import { DrizzleQueryError } from 'drizzle-orm/errors'

/** Codes of the driver and SQLSTATEs that mean: not now, perhaps in a moment. */
const unavailable = new Set([
  'CONNECTION_CLOSED',
  'CONNECTION_DESTROYED',
  'CONNECTION_ENDED',
  'CONNECTION_WAIT_TIMEOUT', // every connection of the pool was busy; see gate.ts
  'CONNECT_TIMEOUT',
  'ECONNREFUSED',
  'ECONNRESET',
  'EHOSTUNREACH',
  'ENOTFOUND',
  'EAI_AGAIN',
  'EPIPE',
  'ETIMEDOUT',
  '40001', // another transaction was in the way
  '40P01', // a deadlock, resolved at this one's cost
  '55P03', // a lock was not to be had in time
  '57014', // cancelled: it took longer than it may
  '08P01', // PgBouncer: query_wait_timeout, server connection lost
  '53300', // too many connections
  '57P01', // terminated by an administrator: a restart
  '57P02',
  '57P03', // starting up or shutting down
  '58000', // PgBouncer cannot reach the server
])

const closedHere = new Set(['CONNECTION_DESTROYED', 'CONNECTION_ENDED'])

/** What may be said of a failed query. The driver's and Drizzle's own messages hold SQL and parameters: never log those. */
export type DatabaseFailure = { code: string; constraint: string | undefined; unavailable: boolean }

/** Describes an error of the database, or gives undefined for any other error. */
export function describeDatabaseError(error: unknown): DatabaseFailure | undefined {
  const cause = error instanceof DrizzleQueryError ? error.cause : error
  if (!(cause instanceof Error) || !('code' in cause) || typeof cause.code !== 'string') {
    return error instanceof DrizzleQueryError
      ? { code: 'unknown', constraint: undefined, unavailable: false }
      : undefined
  }
  if (cause === error && !isDriversOwn(cause, cause.code)) return undefined
  const constraint =
    'constraint_name' in cause && typeof cause.constraint_name === 'string' ? cause.constraint_name : undefined
  return { code: cause.code, constraint, unavailable: unavailable.has(cause.code) }
}

/** True when the database is not there now; false when this process closed the pool. */
export function isOutage(error: unknown): boolean {
  const failure = describeDatabaseError(error)
  return failure?.unavailable === true && !closedHere.has(failure.code)
}

/** True when the server said that it is not there for anybody, so that it cannot have run the statement. */
export function isRefusal(error: unknown): boolean {
  const code = describeDatabaseError(error)?.code
  return code === '57P03' || (code === '08P01' && error instanceof Error && error.message.startsWith('server login'))
}

/** Other libraries' errors have codes too. A transaction that lost its connection rejects without a `query`. */
function isDriversOwn(error: Error, code: string): boolean {
  return error.name === 'PostgresError' || 'query' in error || /^CONNECT(ION)?_/.test(code)
}

/** A turn that cannot begin now: its question is stored already, or the conversation's answer still runs. */
export class ConflictError extends Error {
  code: 'message_exists' | 'answer_running'

  constructor(code: ConflictError['code']) {
    super(code)
    this.name = 'ConflictError'
    this.code = code
  }
}

/** Turns the violation of a unique constraint of `messages` into a `ConflictError`. */
export async function asConflict<T>(query: PromiseLike<T>): Promise<T> {
  try {
    return await query
  } catch (error) {
    const constraint = describeDatabaseError(error)?.constraint
    if (constraint === 'messages_key') throw new ConflictError('message_exists')
    if (constraint === 'messages_one_running_answer') throw new ConflictError('answer_running')
    throw error
  }
}
