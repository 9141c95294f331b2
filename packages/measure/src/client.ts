import { connect, type Socket } from 'node:net'
import { connect as connectSecurely } from 'node:tls'
import { createResponseReader, type ResponseHandler } from './response-reader.ts'

export type Client = ReturnType<typeof createClient>

/** `onFail` receives the code of a broken connection, or `closed` if it ended before the response. */
export type Handler = ResponseHandler & { onFail: (kind: string) => void; onAbandon: () => void }
type Connection = { socket: Socket; handler: Handler | undefined; idleSince: number }

const maxIdleMs = 2000 // servers close idle connections; Node does after 5 s

/** Creates a client for HTTP/1.1 and HTTPS on raw sockets: one per concurrent request, reused after its response has ended. */
export function createClient(url: string) {
  const buffer = Buffer.alloc(64 * 1024) // shared, because each read is handled before the next one
  const connections = new Set<Connection>()
  const idle: Connection[] = []

  const take = (): Connection => {
    const connection = idle.pop()
    if (!connection) return openConnection(url, buffer, connections, idle)
    if (!connection.socket.destroyed && performance.now() - connection.idleSince < maxIdleMs) return connection
    connection.socket.destroy()
    return take()
  }
  return {
    /** Sends a request, given as bytes. */
    send: (request: string, handler: Handler): void => {
      const connection = take()
      connection.handler = handler
      connection.socket.write(request)
    },
    /** Abandons running requests. Their handlers receive only `onAbandon`. */
    close: (): void => {
      for (const connection of connections) {
        connection.handler?.onAbandon()
        connection.handler = undefined
        connection.socket.destroy()
      }
    },
  }
}

function openConnection(url: string, buffer: Buffer, connections: Set<Connection>, idle: Connection[]): Connection {
  const { protocol, hostname, port } = new URL(url)
  const host = hostname.replace(/^\[|\]$/g, '') // an IPv6 address
  const isSecure = protocol === 'https:'
  const onread = { buffer, callback: (length: number) => onBytes(length) }
  const to = { host, port: Number(port) || (isSecure ? 443 : 80), onread }
  const socket = isSecure ? connectSecurely(to) : connect({ ...to, noDelay: true })
  const connection: Connection = { socket, handler: undefined, idleSince: 0 }
  /** A handler may send its next request on this connection at once. */
  const release = () => {
    const { handler } = connection
    connection.handler = undefined
    return handler
  }
  const fail = (kind: string) => {
    socket.destroy()
    release()?.onFail(kind)
  }
  const read = createResponseReader({
    onHead: (status, head) => connection.handler?.onHead(status, head),
    onBody: (text, from, to) => connection.handler?.onBody(text, from, to),
    onEnd: (canReuse) => {
      const handler = release()
      connection.idleSince = performance.now()
      if (canReuse) idle.push(connection)
      else socket.destroy()
      handler?.onEnd(canReuse)
    },
  })
  const onBytes = (length: number) => {
    try {
      read(buffer.toString('latin1', 0, length))
    } catch (error) {
      fail(error instanceof Error ? error.message : 'invalid HTTP')
    }
    return true
  }
  socket.on('error', (error) => fail('code' in error ? String(error.code) : error.message))
  socket.on('close', () => {
    connections.delete(connection)
    read(undefined)
    fail('closed')
  })
  connections.add(connection)
  return connection
}
