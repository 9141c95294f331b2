import { once } from 'node:events'
import type { Server } from 'node:http'
import { connect, createServer } from 'node:net'
import { setImmediate } from 'node:timers/promises'

/** Whether this system distributes connections over all sockets that listen on a port (`SO_REUSEPORT`). */
export const canSharePort = process.platform === 'linux'

/** With a busy event loop (50 ms per iteration), this accepts 320 connections per second. */
const sockets = 16

export type Listening = {
  /** Stops listening on all sockets, including the server's own. Resolves when no further connection is accepted. */
  stop: () => Promise<void>
  /** Resolves when all accepted connections have closed after `stop`. */
  ended: Promise<unknown>
}

/**
 * Opens more sockets on the port of a server that listens with `reusePort`, and passes their connections to the server.
 * libuv accepts one connection per socket and event loop iteration (libuv/libuv#3696). An iteration of a process that
 * writes a thousand streams takes tens of milliseconds, so with one socket new clients would wait for seconds.
 */
export async function listenMore(server: Server): Promise<Listening> {
  const listeners = [server, ...(await openMore(server))]
  return {
    stop: async () => {
      const deadline = performance.now() + longestStopMs
      for (const listener of listeners) {
        await waitUntilBacklogEmpty(server, deadline)
        listener.close()
      }
    },
    ended: Promise.all(listeners.map((listener) => new Promise((resolve) => listener.once('close', resolve)))),
  }
}

async function openMore(server: Server) {
  const address = server.address()
  if (!canSharePort || address === null || typeof address === 'string') return []
  const options = { allowHalfOpen: true, noDelay: true } // the options that node:http uses
  const more = Array.from({ length: sockets - 1 }, () =>
    createServer(options, (socket) => server.emit('connection', socket)).listen({
      host: address.address,
      port: address.port,
      reusePort: true,
    }),
  )
  await Promise.all(more.map((listener) => once(listener, 'listening')))
  return more
}

const longestStopMs = 1000 // a process that is never idle must stop, too
const quietMs = 0.2 // an idle event loop iteration takes a tenth of this

/**
 * Resolves after a short event loop iteration without a new connection. Closing a socket resets the connections in its
 * backlog, and their clients cannot tell whether the request was read.
 */
async function waitUntilBacklogEmpty(server: Server, deadline: number): Promise<void> {
  let accepted = 0
  const count = () => {
    accepted += 1
  }
  server.on('connection', count)
  await setImmediate() // from now on, each iteration polls every socket
  for (let isQuiet = false; !isQuiet && performance.now() < deadline; ) {
    const [before, acceptedBefore] = [performance.now(), accepted]
    await setImmediate()
    isQuiet = accepted === acceptedBefore && performance.now() - before < quietMs
  }
  server.off('connection', count)
}

/**
 * Returns the port if it is free, or a free port for 0. Rejects with `EADDRINUSE` if another process listens on it,
 * because sockets with `reusePort` would share the port with that process. It does not open the port: a load balancer
 * that already knows this address would connect and be reset.
 */
export async function findPort(host: string, port: number): Promise<number> {
  const server = createServer().listen(0, host) // rejects if the address does not belong to this machine
  await once(server, 'listening')
  const address = server.address()
  await once(server.close(), 'close')
  if (port === 0 && typeof address === 'object' && address) return address.port
  if (await isTaken(host, port))
    throw Object.assign(new Error(`listen EADDRINUSE: ${host}:${port}`), { code: 'EADDRINUSE' })
  return port
}

/** Returns whether a process listens on the port. */
async function isTaken(host: string, port: number): Promise<boolean> {
  const client = connect(port, host)
  try {
    await once(client, 'connect')
    return client.localPort !== port // with this very port as its local port, the client connected to itself
  } catch {
    return false
  } finally {
    client.destroy()
  }
}
