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
  '25006', // read-only, for example a primary that became a standby in a failover
  '28P01', // wrong password, for example one that is being changed
  '40001', // serialization failure
  '40P01', // deadlock
  '55P03', // lock timeout
  '57014', // query cancelled, for example by statement_timeout
  '08P01', // PgBouncer: query_wait_timeout, or server connection lost
  '53100', // disk full
  '53300', // too many connections
  '57P01', // terminated by an administrator, for example by a restart
  '57P02',
  '57P03', // starting up or shutting down
  '58000', // PgBouncer cannot reach the server
])

/** PgBouncer passes on why Postgres refuses it, but with its own code: 08P01. */
const poolerReasons: [RegExp, string][] = [
  [/authentication failed/, '28P01'],
  [/too many (connections|clients)|no more connections allowed|remaining connection slots/, '53300'],
]

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
  const code = poolerReasons.find(([reason]) => reason.test(cause.message))?.[1] ?? cause.code
  return { code, constraint, unavailable: unavailable.has(code) }
}

/**
 * Whether the database is temporarily unavailable. False if this process closed the pool, and for a wrong password, which
 * PgBouncer reports with the code of an outage.
 */
export function isOutage(error: unknown): boolean {
  const failure = describeDatabaseError(error)
  return failure?.unavailable === true && !closedHere.has(failure.code) && failure.code !== '28P01'
}

/** Whether the connection leads to a database that accepts no writes. */
export function isReadOnly(error: unknown): boolean {
  return describeDatabaseError(error)?.code === '25006'
}

/** Whether the server rejects all clients, in which case the statement cannot have run. */
export function isRefusal(error: unknown): boolean {
  const code = describeDatabaseError(error)?.code
  const isLogin = error instanceof Error && error.message.startsWith('server login')
  return code === '57P03' || (isLogin && code !== '28P01')
}

/** Whether an error comes from the driver. A transaction that lost its connection rejects without a `query`. */
function isDriverError(error: Error, code: string): boolean {
  return error.name === 'PostgresError' || 'query' in error || /^CONNECT(ION)?_/.test(code)
}

/**
 * A turn that cannot start, because its question exists or an answer runs in its conversation. Or a document that cannot
 * be moved, because its new owner has the same one.
 */
export class ConflictError extends Error {
  code: 'message_exists' | 'answer_running' | 'document_exists'

  constructor(code: ConflictError['code']) {
    super(code)
    this.name = 'ConflictError'
    this.code = code
  }
}

/** Runs a query, and throws `ConflictError` if it violates one of these unique constraints. */
export async function asConflict<T>(query: PromiseLike<T>): Promise<T> {
  try {
    return await query
  } catch (error) {
    const constraint = describeDatabaseError(error)?.constraint
    if (constraint === 'messages_key') throw new ConflictError('message_exists')
    if (constraint === 'messages_one_running_answer') throw new ConflictError('answer_running')
    if (constraint === 'documents_key') throw new ConflictError('document_exists')
    throw error
  }
}
