import { z } from 'zod'

/** A part of a UI message stream, including the closing `[DONE]`. `eventId` is the `id:` of its event. */
const Part = z.looseObject({
  type: z.string(),
  eventId: z.string().optional(),
  id: z.string().optional(),
  messageId: z.string().optional(),
  delta: z.string().optional(),
  errorText: z.string().optional(),
})
export type Part = z.output<typeof Part>

/** Posts JSON with `fetch`. */
export function post(url: string, headers: Record<string, string>, body: unknown, signal?: AbortSignal) {
  const init = {
    method: 'POST',
    headers: { 'content-type': 'application/json', ...headers },
    body: JSON.stringify(body),
  }
  return fetch(url, { ...init, ...(signal && { signal }) })
}

/** Yields the parts of an answer as they arrive. */
export async function* streamParts({ body }: Response): AsyncGenerator<Part, undefined> {
  let text = ''
  for await (const chunk of body?.pipeThrough(new TextDecoderStream()) ?? []) {
    const blocks = (text + chunk).split('\n\n')
    text = blocks.pop() ?? ''
    for (const block of blocks) if (!block.startsWith(':')) yield parseEvent(block)
  }
}

function parseEvent(block: string): Part {
  const eventId = block.match(/^id: (.*)$/m)?.[1]
  const data = block.match(/^data: (.*)$/m)?.[1] ?? ''
  return data === '[DONE]' ? { type: data } : Part.parse({ ...JSON.parse(data), ...(eventId && { eventId }) })
}

/** Waits for the end of an answer and returns all its parts, or the remaining parts of a partly read one. */
export async function readParts(answer: Response | AsyncGenerator<Part, undefined>): Promise<Part[]> {
  const parts: Part[] = []
  for await (const part of answer instanceof Response ? streamParts(answer) : answer) parts.push(part)
  return parts
}

/** Returns the next delta of an answer and leaves the rest unread. */
export async function readDelta(parts: AsyncGenerator<Part, undefined>): Promise<string | undefined> {
  let next = await parts.next()
  while (next.value && next.value.delta === undefined) next = await parts.next()
  return next.value?.delta
}

/** Returns the types of the parts in order, without consecutive duplicates. */
export function listTypes(parts: Part[]): string[] {
  return parts.map(({ type }) => type).filter((type, index, types) => type !== types[index - 1])
}

/** Returns the text of an answer. */
export function joinText(parts: Part[]): string {
  return parts.map(({ type, delta }) => (type === 'text-delta' ? (delta ?? '') : '')).join('')
}
