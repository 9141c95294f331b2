import { DrizzleQueryError } from 'drizzle-orm/errors'

/** Driver codes and SQLSTATEs of temporary failures. */
const unavailable = new Set([
  'CONNECTION_CLOSED',
  'CONNECTION_DESTROYED',
  'CONNECTION_ENDED',
  'CONNECTION_WAIT_TIMEOUT', // all connections of the pool were in use; see gate.ts
  'CONNECT_TIMEOUT',
  'ECONNREFUSED',
  'ECONNRESET',
  'EHOSTUNREACH',
  'ENOTFOUND',
  'EAI_AGAIN',
  'EPIPE',
  'ETIMEDOUT',
  '40001', // serialization failure
  '40P01', // deadlock
  '55P03', // lock timeout
  '57014', // query cancelled, for example by statement_timeout
  '08P01', // PgBouncer: query_wait_timeout, or server connection lost
  '53300', // too many connections
  '57P01', // terminated by an administrator, for example by a restart
  '57P02',
  '57P03', // starting up or shutting down
  '58000', // PgBouncer cannot reach the server
])

const closedHere = new Set(['CONNECTION_DESTROYED', 'CONNECTION_ENDED'])

/** The safe description of a failed query. Never log the original messages, which contain SQL and parameters. */
export type DatabaseFailure = { code: string; constraint: string | undefined; unavailable: boolean }

/** Describes a database error. Returns undefined for any other error. */
export function describeDatabaseError(error: unknown): DatabaseFailure | undefined {
  const cause = error instanceof DrizzleQueryError ? error.cause : error
  if (!(cause instanceof Error) || !('code' in cause) || typeof cause.code !== 'string') {
    return error instanceof DrizzleQueryError
      ? { code: 'unknown', constraint: undefined, unavailable: false }
      : undefined
  }
  if (cause === error && !isDriverError(cause, cause.code)) return undefined
  const constraint =
    'constraint_name' in cause && typeof cause.constraint_name === 'string' ? cause.constraint_name : undefined
  return { code: cause.code, constraint, unavailable: unavailable.has(cause.code) }
}

/**
 * Whether the database is temporarily unavailable. False if this process closed the pool, and for a wrong password, which
 * PgBouncer reports with the code of an outage.
 */
export function isOutage(error: unknown): boolean {
  const failure = describeDatabaseError(error)
  return failure?.unavailable === true && !closedHere.has(failure.code) && !isWrongPassword(error)
}

function isWrongPassword(error: unknown): boolean {
  const cause = error instanceof DrizzleQueryError ? error.cause : error
  return cause instanceof Error && cause.message.includes('authentication failed')
}

/** Whether the server rejects all clients, in which case the statement cannot have run. */
export function isRefusal(error: unknown): boolean {
  const code = describeDatabaseError(error)?.code
  return code === '57P03' || (code === '08P01' && error instanceof Error && error.message.startsWith('server login'))
}

/** Whether an error comes from the driver. A transaction that lost its connection rejects without a `query`. */
function isDriverError(error: Error, code: string): boolean {
  return error.name === 'PostgresError' || 'query' in error || /^CONNECT(ION)?_/.test(code)
}

/** A turn that cannot start: its question already exists, or the conversation has a running answer. */
export class ConflictError extends Error {
  code: 'message_exists' | 'answer_running'

  constructor(code: ConflictError['code']) {
    super(code)
    this.name = 'ConflictError'
    this.code = code
  }
}

/** Runs a query, and throws `ConflictError` if it violates a unique constraint of `messages`. */
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
