import { createGuard } from 'connection-guard'

export { ConnectionHeldError } from 'connection-guard'

/**
 * Makes every HTTP request inside a transaction fail with `ConnectionHeldError` before it is sent: of `fetch`, undici,
 * `node:http` and `node:https`, in our code, tools and libraries.
 */
const guard = createGuard({ mode: 'throw' })

/**
 * Throws `ConnectionHeldError` when called inside a transaction.
 * Call it before anything slow: `createLlm({ beforeCall: assertNoConnectionHeld })`.
 */
export const assertNoConnectionHeld = () => guard.check('A model or another slow operation')

/** Marks what a transaction's callback does, including everything it awaits. Nested ones are inside the outermost. */
export const guardTransactions = guard.drizzle
