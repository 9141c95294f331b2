/** Bytes. Beyond it the model is not read on. A minute of an outage fits, at 1,000 tokens per second. */
const maxBytes = 256 * 1024

/** The text of an answer that waits to be stored: a slow database slows the model instead of filling the memory. */
export function createBacklog(countBytes: () => number, signal: AbortSignal) {
  let storedBytes = 0
  let onStored = () => {}
  const isFull = () => countBytes() - storedBytes > maxBytes

  return {
    /** Says how many bytes of the text the database has. */
    markStored: (bytes: number): void => {
      storedBytes = bytes
      onStored()
    },
    isFull,
    /** Resolves when there is room again. Rejects with the signal's reason. */
    untilRoom: (): Promise<void> =>
      new Promise((resolve, reject) => {
        const settle = () => {
          if (signal.aborted) reject(signal.reason)
          else if (isFull()) return
          else resolve()
          signal.removeEventListener('abort', settle)
        }
        signal.addEventListener('abort', settle)
        onStored = settle
        settle()
      }),
  }
}
