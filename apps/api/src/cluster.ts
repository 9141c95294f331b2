import cluster, { type Worker } from 'node:cluster'
import { sumMetrics } from './metrics/sum.ts'

/** A terminal sends these to every process of a program: workers leave them to the primary, which passes them on. */
export const terminalSignals = ['SIGINT', 'SIGHUP'] as const

const listening = 'listening' // Node's own event is not told of sockets that share a port

const restartDelayMs = 1000 // a worker that dies at once must not be started in a tight loop

/**
 * Runs `count` copies of this program on one port, with `env` over this one's environment. The first shows that it can
 * start; the others follow. One of these that cannot start ends them all; once all have, a worker that dies is replaced. A
 * signal to this process goes to every worker, a second one too, and it ends when they have.
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

/** In a worker: tells the primary that it has started. */
export function reportListening(worker: Worker): void {
  worker.send(listening)
}
