import { AsyncLocalStorage } from 'node:async_hooks'

const transactions = new AsyncLocalStorage<{ open: boolean }>()

/** A model was called while the caller held a database connection. This is always a bug in the caller. */
export class ConnectionHeldError extends Error {
  code = 'connection_held' as const

  constructor() {
    super('A model was called inside a database transaction and would hold its connection. End the transaction first.')
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
