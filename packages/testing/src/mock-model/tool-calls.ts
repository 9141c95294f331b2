import { once } from 'node:events'
import type { ServerResponse } from 'node:http'
import type { Pacer } from './pacer.ts'
import { mockToken, type Settings } from './settings.ts'

type MockMessage = {
  role: string
  content: string | { text?: string }[]
  tool_calls?: { id: string }[]
  tool_call_id?: string
}
export type MockBody = {
  model: string
  stream?: boolean
  stream_options?: { include_usage?: boolean }
  messages?: MockMessage[]
  tools?: { function: { name: string; parameters?: { properties?: object } } }[]
  tool_choice?: string
  input?: string | string[]
  dimensions?: number
}

/** A step in which the mock calls the first of the offered tools that accepts a `query`: the question. */
type CallStep = { id: string; name: string; input: string }

const pieceCount = 4 // of an input, so that it is cut within a word

/** Returns the call of this step, or undefined if the mock answers: after `calls` steps, or if it may not call tools. */
export function findCallStep(
  { messages = [], tools = [], tool_choice }: MockBody,
  { calls }: Settings,
  prompt: string,
): CallStep | undefined {
  const turn = messages.slice(messages.findLastIndex(({ role }) => role === 'user'))
  const step = turn.filter((message) => message.tool_calls).length
  const tool = tools.find(({ function: { parameters } }) => 'query' in (parameters?.properties ?? {}))
  const name = tool?.function.name
  if (step >= calls || tool_choice === 'none' || name === undefined) return undefined
  return { id: `call_${mockToken(prompt, 0)}_${step}`, name, input: JSON.stringify({ query: prompt }) }
}

/** Returns a chunk up to its choices. */
export function startChunk(model: string): string {
  return `data: ${JSON.stringify(describeChat(model, 'chat.completion.chunk')).slice(0, -1)},"choices":[`
}

export function describeChat(model: string, object: string) {
  return { id: 'chatcmpl-mock', object, created: Math.floor(Date.now() / 1000), model }
}

/** Throws if a tool call has no result, or a result has no call. Model servers reject such a conversation. */
export function assertCallsAnswered(messages: MockMessage[]): void {
  let open = new Set<string>()
  for (const { role, tool_calls = [], tool_call_id = '' } of messages) {
    if (role === 'tool' && !open.delete(tool_call_id)) throw new Error(`the result of ${tool_call_id} has no call`)
    if (role !== 'tool' && open.size > 0) throw new Error(`these calls have no result: ${[...open].join()}`)
    if (role !== 'tool') open = new Set(tool_calls.map(({ id }) => id))
  }
  if (open.size > 0) throw new Error(`these calls have no result: ${[...open].join()}`)
}

/** Streams reasoning and a call, whose input arrives in pieces. `start` is the beginning of each chunk. */
export async function streamCall(
  { response, pacer, start }: { response: ServerResponse; pacer: Pacer; start: string },
  { id, name, input }: CallStep,
  { reasoning, interval }: Settings,
  prompt: string,
): Promise<void> {
  const thoughts = Array.from({ length: reasoning }, (_, index) => ({ reasoning_content: mockToken(prompt, index) }))
  const toCall = (call: object) => ({ tool_calls: [{ index: 0, ...call }] })
  const begin = toCall({ id, type: 'function', function: { name, arguments: '' } })
  const deltas = [...thoughts, begin, ...divide(input).map((piece) => toCall({ function: { arguments: piece } }))]
  response.writeHead(200, { 'content-type': 'text/event-stream' })
  response.flushHeaders()
  const closed = once(response, 'close')
  const startedAt = performance.now()
  for (const [index, delta] of deltas.entries()) {
    const due = new Promise<void>((resolve) => pacer.at(startedAt + index * interval, () => resolve()))
    if (interval > 0) await Promise.race([due, closed])
    if (response.destroyed) return
    response.write(`${start}{"index":0,"delta":${JSON.stringify(delta)},"finish_reason":null}]}\n\n`)
  }
  response.end(`${start}{"index":0,"delta":{},"finish_reason":"tool_calls"}]}\n\ndata: [DONE]\n\n`)
}

function divide(text: string): string[] {
  const length = Math.ceil(text.length / pieceCount)
  return Array.from({ length: pieceCount }, (_, index) => text.slice(index * length, (index + 1) * length))
}
