import { once } from 'node:events'
import { connect, type Socket } from 'node:net'
import { onTestFinished } from 'vitest'

/** A response parsed from its bytes. A chunked `body` is decoded. */
export type RawResponse = { status: number; headers: Record<string, string>; body: string }

/** Opens a raw connection without an HTTP client. It is closed when the test has finished. */
export async function openSocket(url: string): Promise<Socket> {
  const { hostname, port } = new URL(url)
  const socket = connect({ port: Number(port), host: hostname, allowHalfOpen: true })
  socket.on('error', () => {}) // the server may disconnect during a write
  await once(socket, 'connect')
  return socket
}

/** Returns everything that the server sends until it disconnects. Rejects if it has not after `deadlineMs`. */
export async function readToEnd(socket: Socket, deadlineMs: number): Promise<string> {
  const chunks: Buffer[] = []
  const late = setTimeout(() => socket.destroy(new Error(`no end after ${deadlineMs} ms`)), deadlineMs)
  try {
    for await (const chunk of socket) chunks.push(chunk)
  } catch (error) {
    // A client that sends more than the server reads gets a reset after the response.
    if (!(error instanceof Error && 'code' in error)) throw error
  } finally {
    clearTimeout(late)
    socket.destroy()
  }
  return Buffer.concat(chunks).toString()
}

/**
 * Sends bytes unchanged and returns the responses. `isAll` closes the sending side, which Node treats as a disconnect
 * unless it is waiting for more data. Rejects like `readToEnd`.
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

/** Returns the responses in a server's output, including interim ones (`100 Continue`). */
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

/** Closes the socket when the test has finished, if it is still open. */
export function closeLater(socket: Socket): Socket {
  onTestFinished(() => void socket.destroy())
  return socket
}
