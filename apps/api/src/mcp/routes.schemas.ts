import { z } from 'zod'

/** A request or notification of JSON-RPC 2.0. Batches are no longer part of the protocol. */
export const McpMessage = z
  .object({
    jsonrpc: z.literal('2.0'),
    id: z.union([z.string(), z.int()], 'must be a string or an integer').optional(),
    method: z.string(),
    params: z.looseObject({}).optional(),
  })
  .meta({
    description: 'A message of JSON-RPC: https://modelcontextprotocol.io/specification',
    examples: [
      {
        jsonrpc: '2.0',
        id: 1,
        method: 'tools/call',
        params: { name: 'search_documents', arguments: { query: 'transaction pooling' } },
      },
    ],
  })

export const McpResponse = z.looseObject({ jsonrpc: z.literal('2.0') }).meta({
  description: 'The `result` of the request, or its `error`. A failed tool is a result with `isError`',
  examples: [
    { jsonrpc: '2.0', id: 1, result: { content: [{ type: 'text', text: '{"passages":[]}' }] } },
    { jsonrpc: '2.0', id: 1, error: { code: -32601, message: 'Method not found' } },
  ],
})

export const Accepted = z.undefined().meta({ description: 'A notification was accepted' })
