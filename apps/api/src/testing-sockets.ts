import { once } from 'node:events'
import { connect, type Socket } from 'node:net'
import { onTestFinished } from 'vitest'

/** A response as its bytes say. `body` is decoded from chunks, when it came in them. */
export type RawResponse = { status: number; headers: Record<string, string>; body: string }

/** A connection that no HTTP client stands in front of. It is closed when the test has finished. */
export async function openSocket(url: string): Promise<Socket> {
  const { hostname, port } = new URL(url)
  const socket = connect({ port: Number(port), host: hostname, allowHalfOpen: true })
  socket.on('error', () => {}) // the server may hang up while it is being written to
  await once(socket, 'connect')
  return socket
}

/** All that the server says until it hangs up. Rejects when it has not after `deadlineMs`. */
export async function readToEnd(socket: Socket, deadlineMs: number): Promise<string> {
  const chunks: Buffer[] = []
  const late = setTimeout(() => socket.destroy(new Error(`no end after ${deadlineMs} ms`)), deadlineMs)
  try {
    for await (const chunk of socket) chunks.push(chunk)
  } catch (error) {
    // Whoever sends more than is read is reset after the answer.
    if (!(error instanceof Error && 'code' in error)) throw error
  } finally {
    clearTimeout(late)
    socket.destroy()
  }
  return Buffer.concat(chunks).toString()
}

/**
 * Sends bytes as they are and reads the answers to them. With `isAll` it says that no more will come, which Node takes for
 * having left, unless it waits for more. Rejects as `readToEnd` does.
 */
export async function sendBytes(
  url: string,
  bytes: Uint8Array,
  deadlineMs: number,
  isAll = false,
): Promise<RawResponse[]> {
  const socket = await openSocket(url)
  if (isAll) socket.end(bytes)
  else socket.write(bytes)
  return parseResponses(await readToEnd(socket, deadlineMs))
}

/** The responses in what a server said, interim ones (`100 Continue`) among them. */
export function parseResponses(text: string): RawResponse[] {
  return text
    .split(/(?=HTTP\/1\.1 \d{3} )/)
    .filter(Boolean)
    .map((response) => {
      const [head = '', ...rest] = response.split('\r\n\r\n')
      const [first = '', ...lines] = head.split('\r\n')
      const headers = Object.fromEntries(
        lines.map((line) => [line.slice(0, line.indexOf(':')).toLowerCase(), line.slice(line.indexOf(':') + 1).trim()]),
      )
      const body = rest.join('\r\n\r\n')
      const isChunked = headers['transfer-encoding'] === 'chunked'
      return { status: Number(first.split(' ')[1]), headers, body: isChunked ? joinChunks(body) : body }
    })
}

function joinChunks(text: string): string {
  return text.replaceAll(/^[0-9a-f]+\r\n/gm, '').replaceAll('\r\n', '')
}

/** Hangs up on whatever is still open when the test has finished. */
export function closeLater(socket: Socket): Socket {
  onTestFinished(() => void socket.destroy())
  return socket
}
