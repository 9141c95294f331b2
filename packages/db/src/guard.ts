import { AsyncLocalStorage } from 'node:async_hooks'

const transactions = new AsyncLocalStorage<{ open: boolean }>()

/** A model call was about to wait while its caller holds a database connection. Always a bug of the caller. */
export class ConnectionHeldError extends Error {
  code = 'connection_held' as const

  constructor() {
    super(
      'A model was called inside a database transaction. End the transaction first: the call would hold a connection.',
    )
    this.name = 'ConnectionHeldError'
  }
}

/**
 * Throws `ConnectionHeldError` when the calling async context is inside a transaction.
 * Give it to whatever waits on something slow: `createLlm({ beforeCall: assertNoConnectionHeld })`.
 */
export function assertNoConnectionHeld() {
  if (transactions.getStore()?.open) throw new ConnectionHeldError()
}

/** Runs `work` as the inside of a transaction, through every await, helper and `Promise.all` below it. */
export async function holdConnection<T>(work: () => Promise<T>): Promise<T> {
  const transaction = { open: true }
  try {
    return await transactions.run(transaction, work)
  } finally {
    // Work that outlives the transaction (not awaited in it) holds nothing any more.
    transaction.open = false
  }
}
