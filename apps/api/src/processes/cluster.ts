import cluster, { type Worker } from 'node:cluster'
import { sumMetrics } from '../metrics/sum.ts'

/** A terminal sends these to every process. Workers ignore them, and the primary forwards them. */
export const terminalSignals = ['SIGINT', 'SIGHUP'] as const

const listening = 'listening' // Node's own event is not emitted for sockets that share a port

const restartDelayMs = 1000 // a worker that crashes at once must not be restarted in a tight loop

/**
 * Runs `count` workers of this program on one port, with `env` added to the environment. The others start once the first
 * listens. If one fails to start, all stop. After that, a worker that crashes is replaced. Signals are forwarded to all
 * workers, and this process exits after them.
 */
export function runWorkers(count: number, env: { PORT: number }): void {
  const listened = new Set<Worker>()
  let isStopping = false

  const stop = () => {
    isStopping = true
    for (const worker of Object.values(cluster.workers ?? {})) worker?.process.kill('SIGTERM')
  }
  for (const signal of ['SIGTERM', ...terminalSignals]) process.on(signal, stop)

  cluster.on('message', (worker, message) => {
    if (message !== listening) return
    if (listened.size === 0 && !isStopping) for (let started = 1; started < count; started += 1) cluster.fork(env)
    listened.add(worker)
  })
  cluster.on('exit', (_worker, code) => {
    if (isStopping) return
    if (listened.size < count) {
      process.exitCode = code || 1
      stop()
    } else {
      setTimeout(() => isStopping || cluster.fork(env), restartDelayMs)
    }
  })
  sumMetrics()
  cluster.fork(env)
}

/** Reports from a worker to the primary that it is listening. */
export function reportListening(worker: Worker): void {
  worker.send(listening)
}
