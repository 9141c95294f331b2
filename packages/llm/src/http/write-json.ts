import { takeTurn } from './turns.ts'

const maxTextLength = 64 * 1024 // UTF-16 units of a text that are written at once
const maxPieceLength = 256 * 1024 // UTF-16 units between two turns of the event loop, about 1 ms

/**
 * Returns JSON as bytes. Long values are encoded over several turns of the event loop, because an image in a prompt can
 * have megabytes. Vendors mishandle U+0000 and lone surrogates, so both become U+FFFD.
 */
export async function writeJson(value: unknown): Promise<Buffer[]> {
  const pieces: Buffer[] = []
  let text = ''
  for (const part of listJsonParts(value)) {
    text += part
    if (text.length < maxPieceLength) continue
    pieces.push(Buffer.from(text))
    text = ''
    await takeTurn()
  }
  return [...pieces, Buffer.from(text)]
}

/** Yields a value as JSON in parts. A long text is divided. */
export function* listJsonParts(value: unknown): Generator<string> {
  if (typeof value === 'string') yield* listTextParts(value)
  else if (Array.isArray(value)) {
    yield '['
    for (const [index, item] of value.entries()) {
      if (index > 0) yield ','
      yield* listJsonParts(item ?? null)
    }
    yield ']'
  } else if (typeof value === 'object' && value !== null) {
    let before = '{'
    for (const [name, item] of Object.entries(value)) {
      if (item === undefined) continue
      yield `${before}${JSON.stringify(name)}:`
      yield* listJsonParts(item)
      before = ','
    }
    yield before === '{' ? '{}' : '}'
  } else yield JSON.stringify(value)
}

function* listTextParts(text: string): Generator<string> {
  yield '"'
  for (let start = 0; start < text.length; ) {
    const end = findCut(text, start + maxTextLength)
    yield JSON.stringify(repairText(text.slice(start, end))).slice(1, -1)
    start = end
  }
  yield '"'
}

/** Never cuts between the halves of a surrogate pair. */
function findCut(text: string, end: number): number {
  const code = text.charCodeAt(end - 1)
  return end < text.length && code >= 0xd800 && code <= 0xdbff ? end - 1 : end
}

function repairText(text: string): string {
  return text.toWellFormed().replaceAll('\0', '\uFFFD')
}
