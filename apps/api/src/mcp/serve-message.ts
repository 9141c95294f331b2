import {
  createMcpHandler,
  isLegacyRequest,
  type McpServer,
  WebStandardStreamableHTTPServerTransport,
} from '@modelcontextprotocol/server'

/** Returns the response to one message, as JSON, in the revision of the protocol that its client speaks. */
export async function serveMessage(create: () => McpServer, request: Request, message: object): Promise<Response> {
  if (await isLegacyRequest(request, message)) return serveWithHandshake(create(), request, message)
  // Nothing here changes without a request of the client, so there is nothing to subscribe to.
  const handler = createMcpHandler(create, { legacy: 'reject', maxSubscriptions: 0 })
  return handler.fetch(request, { parsedBody: message })
}

/** Serves the revisions before 2026-07-28, which begin with a handshake. The SDK's own fallback responds with a stream. */
async function serveWithHandshake(server: McpServer, request: Request, message: object): Promise<Response> {
  const transport = new WebStandardStreamableHTTPServerTransport({ enableJsonResponse: true })
  await server.connect(transport)
  const left = new Promise<Response>((resolve) => {
    request.signal.addEventListener('abort', () => resolve(new Response(null, { status: 499 })), { once: true })
  })
  try {
    return await Promise.race([transport.handleRequest(request, { parsedBody: message }), left])
  } finally {
    await server.close() // aborts the tool that still runs for a client that has left
  }
}
