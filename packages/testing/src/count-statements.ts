import { createServer, connect as dial, type Socket } from 'node:net'

/** Where the messages of a client begin: the first one, which opens the connection, has no type. */
type Reader = { rest: Buffer; isOpen: boolean; names: Map<string, string> }

/**
 * Starts a proxy to the tests' PgBouncer that records the SQL of each statement a client executes, from Postgres' wire
 * protocol: https://www.postgresql.org/docs/17/protocol-message-formats.html
 */
export async function openStatementCounter() {
  const { hostname, port } = new URL(process.env.DATABASE_URL ?? '')
  const statements: string[] = []
  const sockets = new Set<Socket>()
  const server = createServer((client) => {
    const pooler = dial(Number(port), hostname)
    const reader: Reader = { rest: Buffer.alloc(0), isOpen: false, names: new Map() }
    client.on('data', (bytes) => statements.push(...readStatements(reader, bytes)))
    client.pipe(pooler).pipe(client)
    for (const socket of [client, pooler]) {
      sockets.add(socket.on('error', () => {}))
      socket.on('close', () => [client.destroy(), pooler.destroy(), sockets.delete(socket)])
    }
  })
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  return {
    host: `127.0.0.1:${Object(server.address()).port}`,
    /** Returns the statements since the last call. */
    take: (): string[] => statements.splice(0),
    close: async () => {
      for (const socket of sockets) socket.destroy()
      server.close()
    },
  }
}

/** Returns the statements that were executed by messages which are now complete. */
function readStatements(reader: Reader, bytes: Buffer): string[] {
  const executed: string[] = []
  reader.rest = Buffer.concat([reader.rest, bytes])
  for (;;) {
    const typeLength = reader.isOpen ? 1 : 0
    if (reader.rest.length < typeLength + 4) return executed
    const end = typeLength + reader.rest.readInt32BE(typeLength)
    if (reader.rest.length < end) return executed
    const type = reader.isOpen ? String.fromCharCode(reader.rest[0] ?? 0) : ''
    const [first = '', second = ''] = reader.rest.toString('utf8', typeLength + 4, end).split('\0')
    reader.rest = reader.rest.subarray(end)
    reader.isOpen = true
    if (type === 'Q') executed.push(first)
    if (type === 'P') reader.names.set(first, second)
    if (type === 'B') executed.push(reader.names.get(second) ?? second)
  }
}
