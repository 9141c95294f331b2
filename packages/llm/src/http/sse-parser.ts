import { LlmError } from '../llm.ts'

/** One server-sent event. `name` is '' if the stream named none. */
export type SseEvent = { name: string; data: string }

export type SseParser = {
  /** Returns the events that end in these bytes. Bytes may be cut anywhere, even inside a character. */
  push: (bytes: Buffer) => SseEvent[]
  /** Returns the last event if the stream ended without its blank line, which some servers omit. */
  end: () => SseEvent[]
}

/** Longer than any vendor's event. A server that sends more without a line break does not use this format. */
const maxEventLength = 1024 * 1024

const lineFeed = 0x0a
const carriageReturn = 0x0d
const byteOrderMark = 0xfeff

/**
 * Parses server-sent events by https://html.spec.whatwg.org/multipage/server-sent-events.html, without the parts that
 * no model server uses: lines end in LF or CRLF (never a lone CR), and `id` and `retry` are skipped. Throws an
 * `LlmError` (`model_protocol`) when an event exceeds 1 MiB.
 */
export function createSseParser(): SseParser {
  let unended: Buffer[] = []
  let unendedLength = 0
  let name = ''
  let data: string | undefined

  const hold = (bytes: Buffer) => {
    if (bytes.length === 0) return
    unended.push(bytes)
    unendedLength += bytes.length
    assertLength(unendedLength)
  }

  const readLine = (line: string, events: SseEvent[]) => {
    if (line === '') {
      if (data !== undefined) events.push({ name, data })
      name = ''
      data = undefined
    } else if (line.startsWith('data:')) {
      const value = readValue(line, 'data:'.length)
      data = data === undefined ? value : `${data}\n${value}`
      assertLength(data.length)
    } else if (line.startsWith('event:')) {
      name = readValue(line, 'event:'.length)
    }
  }

  const readLines = (text: string) => {
    const events: SseEvent[] = []
    let start = text.charCodeAt(0) === byteOrderMark ? 1 : 0
    for (let end = text.indexOf('\n', start); end !== -1; end = text.indexOf('\n', start)) {
      const isCrLf = end > start && text.charCodeAt(end - 1) === carriageReturn
      readLine(text.slice(start, isCrLf ? end - 1 : end), events)
      start = end + 1
    }
    return events
  }

  return {
    push: (bytes) => {
      // No byte of a multi-byte character is a line feed, so whole lines contain whole characters.
      const end = bytes.lastIndexOf(lineFeed) + 1
      if (end === 0) {
        hold(bytes)
        return []
      }
      if (unendedLength === 0 && end === bytes.length) return readLines(bytes.toString())
      const text = Buffer.concat([...unended, bytes.subarray(0, end)]).toString()
      unended = []
      unendedLength = 0
      hold(bytes.subarray(end))
      return readLines(text)
    },
    end: () => readLines(`${Buffer.concat(unended).toString()}\n\n`),
  }
}

function readValue(line: string, start: number): string {
  return line.slice(line[start] === ' ' ? start + 1 : start)
}

function assertLength(length: number): void {
  if (length > maxEventLength)
    throw new LlmError('model_protocol', 'the model sent an event that exceeds the size limit')
}
