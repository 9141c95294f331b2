/** Does some work every `intervalMs` until the returned function is called, and never twice at once. */
export function repeat(intervalMs: number, work: () => Promise<void>, onError: (error: unknown) => void): () => void {
  let isWorking = false
  const tick = async () => {
    if (isWorking) return
    isWorking = true
    await work().catch(onError)
    isWorking = false
  }
  const timer = setInterval(tick, intervalMs)
  return () => clearInterval(timer)
}
