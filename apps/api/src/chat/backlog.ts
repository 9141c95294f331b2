/** Bytes. Beyond this, reading from the model pauses. At 1,000 tokens per second it covers a minute's outage. */
const maxBytes = 256 * 1024

/** Tracks text that is not persisted yet. A slow database slows the model down instead of filling the memory. */
export function createBacklog(countBytes: () => number, signal: AbortSignal) {
  let storedBytes = 0
  let onStored = () => {}
  const isFull = () => countBytes() - storedBytes > maxBytes

  return {
    /** Sets how many bytes of the text are persisted. */
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
