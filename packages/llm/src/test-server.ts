import { once } from 'node:events'
import http from 'node:http'
import https from 'node:https'
import type { Socket } from 'node:net'
import net from 'node:net'
import { onTestFinished } from 'vitest'

export type TestServer = {
  url: string
  /** Requests received so far, oldest first: bodies over HTTP, reads over TCP. */
  requests: string[]
  /** Connections accepted so far, oldest first. */
  sockets: Socket[]
  server: net.Server
}

/**
 * Starts a real HTTP server on 127.0.0.1 until the test ends, with TLS if there is a certificate. `respond` is called when the request's body has arrived.
 */
export function startHttpServer(
  respond: (response: http.ServerResponse, request: http.IncomingMessage, body: string) => unknown,
  certificate?: { cert: string; key: string },
) {
  const requests: string[] = []
  const onRequest: http.RequestListener = (request, response) => {
    const parts: Buffer[] = []
    request.on('data', (bytes: Buffer) => parts.push(bytes))
    request.on('end', () => {
      const body = Buffer.concat(parts).toString()
      requests.push(body)
      respond(response, request, body)
    })
  }
  const server = certificate ? https.createServer(certificate, onRequest) : http.createServer(onRequest)
  return listen(server, requests)
}

/**
 * The same over TCP, for bytes that no HTTP library would send. `respond` is called for each read of each connection.
 */
export function startTcpServer(respond: (socket: Socket, count: number) => unknown) {
  const requests: string[] = []
  const server = net.createServer((socket) => {
    socket.on('error', () => socket.destroy())
    socket.on('data', (bytes) => respond(socket, requests.push(bytes.toString())))
  })
  return listen(server, requests)
}

async function listen(server: net.Server, requests: string[]): Promise<TestServer> {
  const sockets: Socket[] = []
  server.on('connection', (socket) => sockets.push(socket))
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  const address = server.address()
  if (address === null || typeof address === 'string') throw new Error('the test server has no port')
  onTestFinished(async () => {
    for (const socket of sockets) socket.destroy()
    server.close()
    await once(server, 'close')
  })
  return { url: `http://127.0.0.1:${address.port}/v1`, requests, sockets, server }
}
