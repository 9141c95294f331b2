import { createServer, connect as dial, type Socket } from 'node:net'

export type Gate = Awaited<ReturnType<typeof openTcpProxy>>

/**
 * Starts a TCP proxy to the tests' PgBouncer, or to the server with this URL. `shut` simulates an unavailable database
 * and `open` ends that. The address stays the same. `pointTo` sends new connections to another server.
 */
export async function openTcpProxy(to = process.env.DATABASE_URL ?? '') {
  let target = new URL(to)
  const sockets = new Set<Socket>()
  const server = createServer((client) => {
    const pooler = dial(Number(target.port), target.hostname)
    client.pipe(pooler).pipe(client)
    for (const socket of [client, pooler]) {
      sockets.add(socket)
      socket.on('error', () => {})
      socket.on('close', () => {
        sockets.delete(socket)
        client.destroy()
        pooler.destroy()
      })
    }
  })
  let listensOn = 0
  const open = async () => {
    await new Promise<void>((resolve) => server.listen(listensOn, '127.0.0.1', resolve))
    const address = server.address()
    if (address && typeof address === 'object') listensOn = address.port
  }
  const shut = async () => {
    const closed = new Promise((resolve) => server.close(resolve))
    for (const socket of sockets) socket.destroy()
    await closed
  }
  /** Keeps the connections open but forwards nothing. */
  const stall = () => {
    for (const socket of sockets) socket.unpipe()
  }
  const pointTo = (url: string) => {
    target = new URL(url)
  }
  await open()
  return { host: `127.0.0.1:${listensOn}`, open, shut, stall, pointTo }
}
