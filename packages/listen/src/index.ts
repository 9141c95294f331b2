import { once } from 'node:events'
import type { Server } from 'node:http'
import { createServer } from 'node:net'

/** Whether this system spreads the connections to a port over all sockets that listen on it (`SO_REUSEPORT`). */
export const canSharePort = process.platform === 'linux'

/** At 50 ms a turn of a busy event loop, 320 connections a second. */
const sockets = 16

/**
 * Opens more sockets on the port of a server that listens with `reusePort`, and gives it their connections. libuv takes one
 * connection from a socket in a turn of the event loop (libuv/libuv#3696), and a turn of a process that writes a thousand
 * streams takes tens of milliseconds: through one socket, newcomers waited seconds for their turn.
 *
 * The returned function ends the listening at once, and resolves when the connections have ended that came this way.
 */
export async function listenMore(server: Server): Promise<() => Promise<void>> {
  const address = server.address()
  if (!canSharePort || address === null || typeof address === 'string') return async () => {}
  const options = { allowHalfOpen: true, noDelay: true } // as node:http opens its own
  const more = Array.from({ length: sockets - 1 }, () =>
    createServer(options, (socket) => server.emit('connection', socket)).listen({
      host: address.address,
      port: address.port,
      reusePort: true,
    }),
  )
  await Promise.all(more.map((listener) => once(listener, 'listening')))
  return async () => {
    await Promise.all(more.map((listener) => once(listener.close(), 'close')))
  }
}

/**
 * Gives the port if it is free, for 0 one that is. Rejects with `EADDRINUSE` when anybody listens there: sockets that share
 * a port would share it with another program, too.
 */
export async function findPort(host: string, port: number): Promise<number> {
  const server = createServer().listen(port, host)
  await once(server, 'listening')
  const address = server.address()
  await once(server.close(), 'close')
  return typeof address === 'object' ? (address?.port ?? port) : port
}
