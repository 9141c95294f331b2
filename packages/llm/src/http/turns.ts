let turn = 0
let isCounting = false
const waiting: (() => void)[] = []

/** Limits the work that one reader does in one turn of the event loop. */
export function createTurnBudget(size: number) {
  let spentIn = -1
  let spent = 0
  return {
    spend: (amount: number): void => {
      const now = currentTurn()
      spent = spentIn === now ? spent + amount : amount
      spentIn = now
    },
    /** Returns whether the budget of this turn is used up. */
    isSpent: (): boolean => spent >= size && spentIn === currentTurn(),
  }
}

/**
 * Runs `work` in a later turn of the event loop. Only one such task runs per turn, so many readers block it no longer
 * than one.
 */
export function runLater(work: () => void): void {
  if (waiting.push(work) === 1) setImmediate(runNext)
}

/** Resolves in a later turn, like `runLater`. Long work awaits this between its pieces. */
export const takeTurn = (): Promise<void> => new Promise(runLater)

function runNext(): void {
  const work = waiting.shift()
  if (waiting.length > 0) setImmediate(runNext)
  work?.()
}

/** Counting costs one `setImmediate` per turn in which the count is read. */
function currentTurn(): number {
  if (!isCounting) setImmediate(countTurn)
  isCounting = true
  return turn
}

function countTurn(): void {
  turn += 1
  isCounting = false
}
