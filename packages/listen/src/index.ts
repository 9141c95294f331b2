import { once } from 'node:events'
import type { Server } from 'node:http'
import { connect, createServer } from 'node:net'
import { setImmediate } from 'node:timers/promises'

/** Whether this system spreads the connections to a port over all sockets that listen on it (`SO_REUSEPORT`). */
export const canSharePort = process.platform === 'linux'

/** At 50 ms a turn of a busy event loop, 320 connections a second. */
const sockets = 16

export type Listening = {
  /** Ends the listening on all sockets, the server's own too. Resolves when nobody is let in any more. */
  stop: () => Promise<void>
  /** Resolves when all connections have ended after that. */
  ended: Promise<unknown>
}

/**
 * Opens more sockets on the port of a server that listens with `reusePort`, and gives it their connections. libuv takes one
 * connection from a socket in a turn of the event loop (libuv/libuv#3696), and a turn of a process that writes a thousand
 * streams takes tens of milliseconds: through one socket, newcomers waited seconds for their turn.
 */
export async function listenMore(server: Server): Promise<Listening> {
  const listeners = [server, ...(await openMore(server))]
  return {
    stop: async () => {
      const deadline = performance.now() + longestStopMs
      for (const listener of listeners) {
        await untilNobodyWaits(server, deadline)
        listener.close()
      }
    },
    ended: Promise.all(listeners.map((listener) => new Promise((resolve) => listener.once('close', resolve)))),
  }
}

async function openMore(server: Server) {
  const address = server.address()
  if (!canSharePort || address === null || typeof address === 'string') return []
  const options = { allowHalfOpen: true, noDelay: true } // as node:http opens its own
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

const longestStopMs = 1000 // a process that is never idle has to stop, too
const quietMs = 0.2 // a turn of the event loop in which there is nothing to do takes a tenth of this

/**
 * Resolves right after a short turn of the event loop in which nobody connected. A socket that is closed resets whoever has
 * connected to it and was not let in yet, who then cannot know that the request was never read.
 */
async function untilNobodyWaits(server: Server, deadline: number): Promise<void> {
  let met = 0
  const count = () => {
    met += 1
  }
  server.on('connection', count)
  await setImmediate() // after this one, each turn asks every socket
  for (let isQuiet = false; !isQuiet && performance.now() < deadline; ) {
    const [before, metBefore] = [performance.now(), met]
    await setImmediate()
    isQuiet = met === metBefore && performance.now() - before < quietMs
  }
  server.off('connection', count)
}

/**
 * Gives the port if it is free, for 0 one that is. Rejects with `EADDRINUSE` when anybody listens there: sockets that share
 * a port would share it with another program, too. The port itself is not opened: whoever connects to it, as a balancer does
 * that knows this process already, would be let in and then reset.
 */
export async function findPort(host: string, port: number): Promise<number> {
  const server = createServer().listen(0, host) // rejects for a host that is not this machine's
  await once(server, 'listening')
  const address = server.address()
  await once(server.close(), 'close')
  if (port === 0 && typeof address === 'object' && address) return address.port
  if (await isTaken(host, port))
    throw Object.assign(new Error(`listen EADDRINUSE: ${host}:${port}`), { code: 'EADDRINUSE' })
  return port
}

/** Whether anybody listens there. */
async function isTaken(host: string, port: number): Promise<boolean> {
  const client = connect(port, host)
  try {
    await once(client, 'connect')
    return client.localPort !== port // else it was given this very port, and has met itself
  } catch {
    return false
  } finally {
    client.destroy()
  }
}
