import cluster, { type Worker } from 'node:cluster'

const restartDelayMs = 1000 // a worker that dies at once must not be started in a tight loop

/**
 * Runs `count` copies of this program on one port. A worker that dies after it has listened is replaced; one that
 * cannot start ends them all. A signal to this process goes to every worker, and it ends when they have.
 */
export function runWorkers(count: number): void {
  const listened = new Set<Worker>()
  let isStopping = false

  const stop = (signal: NodeJS.Signals) => {
    isStopping = true
    for (const worker of Object.values(cluster.workers ?? {})) worker?.process.kill(signal)
  }
  process.on('SIGTERM', stop)
  // The terminal sends SIGINT to the workers itself.
  process.on('SIGINT', () => {
    isStopping = true
  })

  cluster.on('listening', (worker) => listened.add(worker))
  cluster.on('exit', (worker, code) => {
    if (isStopping) return
    if (!listened.has(worker)) {
      process.exitCode = code || 1
      stop('SIGTERM')
      return
    }
    setTimeout(() => isStopping || cluster.fork(), restartDelayMs)
  })
  for (let started = 0; started < count; started += 1) cluster.fork()
}
