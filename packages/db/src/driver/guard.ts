import { AsyncLocalStorage } from 'node:async_hooks'
import { subscribe } from 'node:diagnostics_channel'

const transactions = new AsyncLocalStorage<{ open: boolean }>()

/** A model or another server was called while the caller held a database connection. This is always a bug in the caller. */
export class ConnectionHeldError extends Error {
  code = 'connection_held' as const

  constructor() {
    super('A server was called inside a database transaction and would hold its connection. End the transaction first.')
    this.name = 'ConnectionHeldError'
  }
}

/**
 * Throws `ConnectionHeldError` when called inside a transaction.
 * Call it before anything slow: `createLlm({ beforeCall: assertNoConnectionHeld })`.
 */
export function assertNoConnectionHeld() {
  if (transactions.getStore()?.open) throw new ConnectionHeldError()
}

/**
 * Makes every HTTP request inside a transaction fail with `ConnectionHeldError` before it is sent: of `fetch`, undici,
 * `node:http` and `node:https`, in our code, tools and libraries.
 */
export function guardNetwork(): void {
  if (isNetworkGuarded) return
  isNetworkGuarded = true
  subscribe('http.client.request.created', (message) => rejectIfHeld(Object(message).request, ['destroy']))
  subscribe('undici:request:create', (message) => rejectIfHeld(Object(message).request, ['onError', 'onResponseError']))
}

let isNetworkGuarded = false

/** A subscriber cannot throw, so it makes the request fail, by the first of these methods that this version has. */
function rejectIfHeld(request: { [method: string]: (error: Error) => void }, methods: string[]): void {
  if (!transactions.getStore()?.open) return
  const method = methods.find((name) => name in request)
  if (method) request[method]?.(new ConnectionHeldError())
}

/** Marks `work` as running inside a transaction, including everything it awaits. */
export async function holdConnection<T>(work: () => Promise<T>): Promise<T> {
  const transaction = { open: true }
  try {
    return await transactions.run(transaction, work)
  } finally {
    // Work that was not awaited inside the transaction no longer holds a connection.
    transaction.open = false
  }
}
