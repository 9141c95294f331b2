import { McpServer, ProtocolError, ProtocolErrorCode, type ServerContext } from '@modelcontextprotocol/server'
import { ProblemError } from '../plugins/errors.ts'
import { version } from '../plugins/openapi.ts'
import { callTool, describeTool, type ToolOptions } from './call-tool.ts'
import { documentTemplate, listResources, readResource } from './resources.ts'

export type ServerOptions = ToolOptions & {
  /** Receives an error that is not meant for clients. The SDK itself would send them its message. */
  onFailure: (error: unknown) => void
}

/** Returns the server of one message. It offers the tools with `mcp: true`, and documents as resources. */
export function createServer(options: ServerOptions): McpServer {
  const { store, tools } = options
  const mcp = new McpServer(
    { name: 'sluice', version },
    { capabilities: { tools: {}, resources: {} }, instructions: 'Searches and reads the documents of the user.' },
  )
  const { server } = mcp
  const guard = createGuard(options.onFailure)
  const offered = [...tools].filter(([, { mcp }]) => mcp)
  server.setRequestHandler('tools/list', () => ({ tools: offered.map(describeTool) }))
  server.setRequestHandler('resources/templates/list', () => ({ resourceTemplates: [documentTemplate] }))
  server.setRequestHandler(
    'tools/call',
    guard(({ params }, { mcpReq }) => callTool(options, params, mcpReq.signal)),
  )
  server.setRequestHandler(
    'resources/list',
    guard(({ params }) => listResources(store, options, params?.cursor)),
  )
  server.setRequestHandler(
    'resources/read',
    guard(({ params }) => readResource(store, options, params.uri)),
  )
  return mcp
}

/** Returns a function that lets a handler send only errors that are meant for clients. */
function createGuard(onFailure: (error: unknown) => void) {
  return <Request, Result>(handle: (request: Request, context: ServerContext) => Promise<Result>) =>
    async (request: Request, context: ServerContext): Promise<Result> => {
      try {
        return await handle(request, context)
      } catch (error) {
        if (error instanceof ProtocolError || context.mcpReq.signal.aborted) throw error
        if (error instanceof ProblemError && error.status === 400)
          throw new ProtocolError(ProtocolErrorCode.InvalidParams, error.message)
        onFailure(error)
        throw new ProtocolError(ProtocolErrorCode.InternalError, 'Internal error')
      }
    }
}
