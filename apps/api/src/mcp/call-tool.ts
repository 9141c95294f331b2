import { type CallToolResult, ProtocolError, ProtocolErrorCode } from '@modelcontextprotocol/server'
import type { FastifyBaseLogger } from 'fastify'
import { numberPassages } from '../chat/find-passages.ts'
import { runHandler, toErrorText } from '../chat/run-handler.ts'
import { type Tool, type ToolContext, ToolError, type Tools } from '../chat/tools.ts'

export type ToolOptions = Pick<ToolContext, 'owner' | 'organization' | 'db' | 'store' | 'llm' | 'searchPassages'> & {
  tools: Tools
  log: FastifyBaseLogger
}

/** Returns a tool as clients see it. Tools with `mcp: true` change nothing, so clients need not ask their user. */
export function describeTool([name, { description, parameters }]: [string, Tool]) {
  const inputSchema = { type: 'object' as const, ...parameters }
  return { name, description, inputSchema, annotations: { readOnlyHint: true } }
}

/**
 * Calls a tool as the chat does. A call that fails is a result, so that the client's model can try again. Throws a
 * `ProtocolError` for a tool that is not offered, and the reason of an aborted signal.
 */
export async function callTool(
  { tools, log, ...context }: ToolOptions,
  { name, arguments: input = {} }: { name: string; arguments?: object | undefined },
  signal: AbortSignal,
): Promise<CallToolResult> {
  const tool = tools.get(name)
  if (!tool?.mcp)
    throw new ProtocolError(ProtocolErrorCode.InvalidParams, 'There is no tool with this name. See `tools/list`.')
  try {
    const { run, needsApproval } = tool.check(input)
    if (!run || needsApproval) throw new ToolError('This call needs a user in a chat. It does not work over MCP.')
    const output = await runHandler(run, { ...context, scope: undefined, signal, cite: numberPassages })
    return { content: [{ type: 'text', text: JSON.stringify(output) }] }
  } catch (error) {
    signal.throwIfAborted()
    return { isError: true, content: [{ type: 'text', text: toErrorText(error, name, log) }] }
  }
}
