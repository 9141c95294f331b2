import { request } from 'node:http'
import type { Part } from '@repo/testing/ui-stream'
import { readUIMessageStream, type UIMessage, type UIMessageChunk } from 'ai'
import { expect } from 'vitest'

type Headers = Record<string, string>

/** A chat, and all that its client has received. */
export type ToolChat = { id: string; message: string; received: string; status?: number | undefined }

/**
 * Asks a question and records the response until it ends or its connection breaks. Never rejects. Uses `node:http`,
 * because `fetch` drops what has arrived but is unread when a connection breaks.
 */
export function ask(url: string, headers: Headers, chat: ToolChat): Promise<void> {
  const { promise, resolve } = Promise.withResolvers<void>()
  const options = { method: 'POST', headers: { ...headers, 'content-type': 'application/json' }, agent: false }
  const sent = request(`${url}/chat`, options, (response) => {
    chat.status = response.statusCode
    response.setEncoding('utf8')
    response.on('data', (piece: string) => {
      chat.received += piece
    })
    response.on('error', () => {})
    response.on('close', resolve)
  })
  sent.on('error', () => chat.status === undefined && resolve())
  sent.end(JSON.stringify({ message: chat.message, conversationId: chat.id }))
  return promise
}

/** Returns the events that arrived as a whole. */
export function readEvents({ received }: ToolChat): Part[] {
  const blocks = received.split('\n\n').slice(0, -1)
  return blocks.flatMap((block): Part[] => {
    const json = block.match(/^data: (\{.*)$/m)?.[1]
    return json === undefined ? [] : [JSON.parse(json)]
  })
}

/** Returns the parts of the message that `useChat` makes of events, even if they break off. */
export async function toUiParts(events: Part[]): Promise<UIMessage['parts']> {
  const stream = new ReadableStream<UIMessageChunk>({
    start: (controller) => {
      for (const event of events) controller.enqueue(Object(event))
      controller.enqueue({ type: 'message-metadata', messageMetadata: {} }) // the reader returns its state for this one
      controller.close()
    },
  })
  let message: UIMessage | undefined
  for await (const state of readUIMessageStream({ stream, onError: () => {} })) message = structuredClone(state)
  return JSON.parse(JSON.stringify(message?.parts ?? [])) // as a response has them: without keys that are undefined
}

export type StoredMessage = Pick<UIMessage, 'id' | 'role' | 'parts'> & { content: string; status: string }

/** Returns the messages of a conversation. There are none if it does not exist. */
export async function readMessages(url: string, headers: Headers, id: string): Promise<StoredMessage[]> {
  const response = await fetch(`${url}/conversations/${id}`, { headers })
  return JSON.parse(await response.text()).messages ?? []
}

/** Expects stored parts to be those that were received, or to end before them. Tools are called one at a time. */
export function expectPrefix(stored: UIMessage['parts'], received: UIMessage['parts']): void {
  expect(stored.length).toBeLessThanOrEqual(received.length)
  for (const [index, part] of stored.entries()) {
    const other = received[index]
    const known = part.type === 'text' || part.type === 'reasoning' ? { type: part.type } : toKnown(part)
    expect(other).toMatchObject(known)
    if ('text' in part && other && 'text' in other) expect(other.text.slice(0, part.text.length)).toBe(part.text)
    if (index < stored.length - 1) expect(isBehind(part, other)).toBe(false)
  }
}

/** Returns what a stored part says about a received one. The result of a call that has none yet may have been received. */
function toKnown(part: UIMessage['parts'][number]): object {
  if (!('state' in part) || part.state !== 'input-available') return part
  const { state: _, ...call } = part
  return call
}

function isBehind(part: UIMessage['parts'][number], other: UIMessage['parts'][number] | undefined): boolean {
  if ('text' in part && other && 'text' in other) return part.text.length < other.text.length
  return 'toolCallId' in part && other !== undefined && 'state' in other && part.state !== other.state
}
