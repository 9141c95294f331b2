import { LlmError } from '../llm.ts'

/** One server-sent event. `name` is '' if the stream named none. */
export type SseEvent = { name: string; data: string }

export type SseParser = {
  /** Returns the events that end in these bytes. Bytes may be cut anywhere, even inside a character. */
  push: (bytes: Buffer) => SseEvent[]
  /** Returns the last event if the stream ended without its blank line, which some servers omit. */
  end: () => SseEvent[]
}

/** Limit for one event, also for an answer that is not streamed. `JSON.parse` of it takes 20 ms. */
export const maxEventLength = 4 * 1024 * 1024

const lineFeed = 0x0a
const carriageReturn = 0x0d
const byteOrderMark = 0xfeff

/**
 * Parses server-sent events by https://html.spec.whatwg.org/multipage/server-sent-events.html without `id` and `retry`,
 * which no model server uses. A line that begins with `{`, which the standard ignores, is an event too: servers send
 * newline-delimited JSON, a whole JSON document of one or several lines, or an error without `data:`. Throws an
 * `LlmError` (`model_protocol`) when an event exceeds 4 MiB.
 */
export function createSseParser(): SseParser {
  const reader = createEventReader()
  let unended: Buffer[] = []
  let unendedLength = 0
  let isStart = true
  let skipsLineFeed = false // the last byte was a carriage return, so a line feed belongs to it

  const hold = (bytes: Buffer) => {
    if (bytes.length === 0) return
    unended.push(bytes)
    unendedLength += bytes.length
    assertLength(unendedLength)
  }

  const readLines = (text: string) => {
    const events: SseEvent[] = []
    const lines = text.includes('\r') ? text.replaceAll(/\r\n?/g, '\n') : text
    let start = isStart && lines.charCodeAt(0) === byteOrderMark ? 1 : 0
    isStart = false
    for (let end = lines.indexOf('\n', start); end !== -1; end = lines.indexOf('\n', start)) {
      reader.readLine(lines.slice(start, end), events)
      start = end + 1
    }
    return events
  }

  return {
    push: (bytes) => {
      const rest = skipsLineFeed && bytes[0] === lineFeed ? bytes.subarray(1) : bytes
      skipsLineFeed = bytes.at(-1) === carriageReturn
      // No byte of a multi-byte character is a line break, so whole lines contain whole characters.
      const end = findLinesEnd(rest)
      if (end === 0) {
        hold(rest)
        return []
      }
      if (unendedLength === 0 && end === rest.length) return readLines(rest.toString())
      const text = Buffer.concat([...unended, rest.subarray(0, end)]).toString()
      unended = []
      unendedLength = 0
      hold(rest.subarray(end))
      return readLines(text)
    },
    end: () => [...readLines(`${Buffer.concat(unended).toString()}\n\n`), ...reader.end()],
  }
}

/** Returns the end of the last whole line, usually the end of the bytes. */
function findLinesEnd(bytes: Buffer): number {
  const last = bytes.at(-1)
  if (last === lineFeed || last === carriageReturn) return bytes.length
  return Math.max(bytes.lastIndexOf(lineFeed), bytes.lastIndexOf(carriageReturn)) + 1
}

function createEventReader() {
  let name = ''
  let data: string | undefined
  let json: string | undefined // a document whose first line does not end it

  /** A document of several lines is indented, so its end is the only line that begins with a brace. */
  const addJson = (line: string, events: SseEvent[]) => {
    const isEnd = json === undefined ? line.trimEnd().endsWith('}') : line.startsWith('}')
    json = json === undefined ? line : `${json}\n${line}`
    assertLength(json.length)
    if (!isEnd) return
    events.push({ name: '', data: json })
    json = undefined
  }

  return {
    readLine: (line: string, events: SseEvent[]): void => {
      if (json !== undefined) {
        addJson(line, events)
      } else if (line === '') {
        if (data !== undefined) events.push({ name, data })
        name = ''
        data = undefined
      } else if (line.startsWith('data:') || line === 'data') {
        const value = readValue(line, 'data:'.length)
        data = data === undefined ? value : `${data}\n${value}`
        assertLength(data.length)
      } else if (line.startsWith('event:') || line === 'event') {
        name = readValue(line, 'event:'.length)
      } else if (line.startsWith('error:')) {
        events.push({ name: 'error', data: readValue(line, 'error:'.length) }) // llama.cpp before 2025
      } else if (line.startsWith('{')) {
        addJson(line, events)
      }
    },
    /** Returns a document that did not end. */
    end: (): SseEvent[] => (json === undefined ? [] : [{ name: '', data: json }]),
  }
}

function readValue(line: string, start: number): string {
  return line.slice(line[start] === ' ' ? start + 1 : start)
}

function assertLength(length: number): void {
  if (length > maxEventLength)
    throw new LlmError('model_protocol', 'the model sent an event that exceeds the size limit')
}
