import type { Config } from '@repo/config'
import type { FastifyReply, FastifyRequest } from 'fastify'
import type { FastifyPluginAsyncZod } from 'fastify-type-provider-zod'
import { withKey } from '../chat/search-passages.ts'
import type { Tools } from '../chat/tools.ts'
import { ProblemError } from '../plugins/errors.ts'
import type { Quotas } from '../plugins/quotas.ts'
import { createServer } from './create-server.ts'
import { Accepted, McpMessage, McpResponse } from './routes.schemas.ts'
import { serveMessage } from './serve-message.ts'

type Options = { config: Pick<Config, 'CORS_ORIGINS'>; tools: Tools; quotas: Quotas }

const routes: FastifyPluginAsyncZod<Options> = async (app, { config, tools, quotas }) => {
  const { db, store, llm, searchPassages } = app

  app.post(
    '',
    {
      config: { scopes: ['read'], problems: { 403: ['foreign_origin'], 429: ['rate_limited'] } },
      onRequest: async (request) => assertOrigin(request, config.CORS_ORIGINS),
      schema: {
        operationId: 'callMcp',
        summary: 'The documents for MCP clients, as tools and resources',
        description:
          'Streamable HTTP without sessions: each message is answered as JSON. Calls of tools count towards the quota. Errors of the protocol are JSON-RPC errors, also with status 400 or 404.',
        body: McpMessage,
        response: { 200: McpResponse, 202: Accepted },
      },
    },
    async (request, reply) => {
      const { owner, organization, keyId, log, body } = request
      if (body.method === 'tools/call') quotas.countRequest(owner)
      let failure: unknown
      const onFailure = (error: unknown) => {
        failure = error
      }
      const search = withKey(searchPassages, keyId)
      const options = { db, store, llm, searchPassages: search, tools, owner, organization, log, onFailure }
      const response = await serveMessage(() => createServer(options), toWebRequest(request, reply), body)
      if (failure) throw failure
      await sendJson(reply, response)
      return reply
    },
  )
}

/** Throws `ProblemError` 403 for another page. The specification demands this, although such a page has no key. */
function assertOrigin({ protocol, host, headers: { origin } }: FastifyRequest, allowed: string[]): void {
  if (origin === undefined || origin === `${protocol}://${host}` || allowed.includes(origin)) return
  const detail = "Pages of this origin have no access to /mcp. Add the page's origin to CORS_ORIGINS."
  throw new ProblemError(403, 'foreign_origin', detail)
}

/** Returns what the protocol reads of a request, without the key. It is aborted when the client disconnects. */
function toWebRequest({ headers }: FastifyRequest, { raw }: FastifyReply): Request {
  const controller = new AbortController()
  raw.once('close', () => controller.abort())
  // The response is JSON, whatever a client accepts, as on all routes.
  const web = new Headers({ 'content-type': 'application/json', accept: 'application/json, text/event-stream' })
  for (const [name, value] of Object.entries(headers)) if (name.startsWith('mcp-')) web.set(name, String(value))
  return new Request('http://localhost/mcp', { method: 'POST', headers: web, signal: controller.signal })
}

/** Sends a response of the SDK, whose status may be any. */
async function sendJson(reply: FastifyReply, response: Response): Promise<void> {
  const body = await response.text()
  if (body) reply.type('application/json; charset=utf-8')
  void reply.code(response.status).send(body || undefined)
}

export default routes
