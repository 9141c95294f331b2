import { toBytes, toText } from './raw-text.ts'

/** The end of a completion, as far as it is known. */
export type CompletionEnd = { finishReason: string | null; inputTokens: number | null; outputTokens: number | null }

const mark = '"delta":{"content":"'

/**
 * Returns a function that reads a completion's events as latin1 text. `onDelta` receives each piece of text with its JSON
 * escapes, ready to be copied into another JSON string. Other events, such as the end of the answer, are parsed. Throws
 * if the model reports an error.
 */
export function createDeltaScanner(end: CompletionEnd, onDelta: (escaped: string) => void) {
  let rest = ''
  return (bytes: string): void => {
    const text = rest + bytes
    const isPlain = !text.includes('"finish_reason":"')
    let start = 0
    for (let stop = text.indexOf('\n\n'); stop >= 0; stop = text.indexOf('\n\n', start)) {
      const at = isPlain ? text.indexOf(mark, start) : -1
      if (at >= 0 && at < stop) onDelta(text.slice(at + mark.length, findQuote(text, at + mark.length)))
      else readEvent(text.slice(start, stop), end, onDelta)
      start = stop + 2
    }
    rest = text.slice(start)
  }
}

/** Returns the end of the JSON string. */
function findQuote(text: string, from: number): number {
  let at = text.indexOf('"', from)
  while (isEscaped(text, at)) at = text.indexOf('"', at + 1)
  return at
}

function isEscaped(text: string, at: number): boolean {
  let before = at
  while (text[before - 1] === '\\') before -= 1
  return (at - before) % 2 === 1
}

function readEvent(event: string, end: CompletionEnd, onDelta: (escaped: string) => void): void {
  if (!event.startsWith('data: {')) return
  const { choices, usage, error } = JSON.parse(toText(event.slice('data: '.length)))
  if (error) throw new Error('the model reported an error')
  const content: unknown = choices?.[0]?.delta?.content
  if (typeof content === 'string' && content) onDelta(toBytes(JSON.stringify(content).slice(1, -1)))
  end.finishReason = choices?.[0]?.finish_reason ?? end.finishReason
  end.inputTokens = usage?.prompt_tokens ?? end.inputTokens
  end.outputTokens = usage?.completion_tokens ?? end.outputTokens
}
