import type { IncomingMessage, ServerResponse } from 'node:http'

export type EventStream = ReturnType<typeof openEventStream>

const headers = [
  ...['content-type', 'text/event-stream; charset=utf-8'],
  ...['cache-control', 'no-cache, no-transform'],
  ...['x-accel-buffering', 'no'],
  ...['x-vercel-ai-ui-message-stream', 'v1'],
]

/**
 * Writes events to a client as latin1 text. All events of one turn of the event loop become one write, while
 * `response.write` makes four writes per event. Pauses `source` while the client reads too slowly.
 */
export function openEventStream(response: ServerResponse, source: IncomingMessage) {
  let waiting = ''
  const resume = () => source.resume()
  response.on('close', resume) // the answer continues when its client disconnects

  const flush = () => {
    const { socket } = response
    const chunk = `${waiting.length.toString(16)}\r\n${waiting}\r\n`
    waiting = ''
    if (!socket?.writable) return
    const isFirst = !response.headersSent
    if (isFirst) {
      socket.cork()
      response.writeHead(200, headers).flushHeaders()
    }
    if (!socket.write(chunk, 'latin1')) {
      source.pause()
      socket.once('drain', resume)
    }
    if (isFirst) socket.uncork()
  }

  return {
    send: (events: string): void => {
      if (waiting === '') queueMicrotask(flush)
      waiting += events
    },
    end: (events: string): void => {
      response.end(events, 'latin1')
    },
  }
}
