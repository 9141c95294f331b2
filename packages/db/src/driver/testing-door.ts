import { once } from 'node:events'
import { connect, createServer, type Socket } from 'node:net'

/** Starts a TCP server on a free port, or on `port`. `serve` handles its connections; `close` ends them all. */
export async function openDoor(serve: (socket: Socket) => void, port = 0) {
  const sockets = new Set<Socket>()
  const server = createServer((socket) => {
    sockets.add(socket)
    serve(socket.on('error', () => {}))
  }).listen(port, '127.0.0.1')
  await once(server, 'listening')
  const address = server.address()
  if (address === null || typeof address === 'string') throw new Error('no port')
  return {
    host: '127.0.0.1',
    port: address.port,
    close: async () => {
      for (const socket of sockets) socket.destroy()
      server.close()
      await once(server, 'close')
    },
  }
}

/** Proxies everything to the server of `url` and back. `stall` keeps the connections open but stops all traffic. */
export function forward(socket: Socket, url: string) {
  const { hostname, port } = new URL(url)
  const onward = connect(Number(port), hostname)
  socket.pipe(onward).pipe(socket)
  socket.on('close', () => onward.destroy())
  onward.on('error', () => {}).on('close', () => socket.destroy())
  const stall = () => {
    for (const end of [socket, onward]) end.unpipe()
  }
  return { onward, stall }
}
