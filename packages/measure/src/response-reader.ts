export type ResponseHandler = {
  onHead: (status: number, head: string) => void
  /** A part of the body: `text` between the two offsets, which avoids a copy. */
  onBody: (text: string, from: number, to: number) => void
  /** The response is complete. `canReuse`: whether the connection accepts another request. */
  onEnd: (canReuse: boolean) => void
}

type State = 'head' | 'size' | 'chunk' | 'chunk-end' | 'body' | 'trailer'

/**
 * Reads the HTTP/1 responses of one connection, in arbitrary pieces of latin1 text. A response that is not chunked and
 * has no length lasts until the connection closes, which an undefined piece says. Not a library, because a load generator
 * must use less CPU per token than the server it measures. Throws at invalid HTTP.
 */
export function createResponseReader({ onHead, onBody, onEnd }: ResponseHandler): (piece?: string) => void {
  let state: State = 'head'
  let left = 0 // bytes of the chunk or the body
  let rest = '' // an incomplete line
  let canReuse = true

  const end = () => {
    state = 'head'
    onEnd(canReuse)
  }
  const readHead = (head: string) => {
    const status = Number(/^HTTP\/1\.[01] (\d{3})/.exec(head)?.[1])
    const isChunked = /^transfer-encoding: *chunked/im.test(head)
    const isEmpty = status === 204 || status === 304
    const length = isEmpty ? 0 : Number(/^content-length: *(\d+)/im.exec(head)?.[1] ?? Number.POSITIVE_INFINITY)
    if (!status) throw new Error('not an HTTP/1 response')
    canReuse = (isChunked || length < Number.POSITIVE_INFINITY) && !/^connection: *close|^HTTP\/1\.0/im.test(head)
    state = isChunked ? 'size' : 'body'
    left = isChunked ? 0 : length
    onHead(status, head)
    if (length === 0 && !isChunked) end()
  }
  const readLine = (line: string) => {
    if (state === 'size') {
      left = Number.parseInt(line, 16)
      if (Number.isNaN(left)) throw new Error('invalid chunk size')
      state = left === 0 ? 'trailer' : 'chunk'
    } else if (state === 'chunk-end') {
      if (line !== '') throw new Error('chunk longer than its size')
      state = 'size'
    } else if (line === '') end()
  }
  /** Passes on the available part of a chunk or body. Returns its end offset. */
  const readPart = (text: string, at: number) => {
    const to = Math.min(at + left, text.length)
    left -= to - at
    onBody(text, at, to)
    if (left === 0 && state === 'chunk') state = 'chunk-end'
    else if (left === 0) end()
    return to
  }

  return (piece) => {
    if (piece === undefined) return state === 'body' && left === Number.POSITIVE_INFINITY ? end() : undefined
    const text = rest === '' ? piece : rest + piece
    rest = ''
    for (let at = 0; at < text.length; ) {
      if (state === 'chunk' || state === 'body') {
        at = readPart(text, at)
        continue
      }
      const mark = state === 'head' ? '\r\n\r\n' : '\r\n'
      const markAt = text.indexOf(mark, at)
      if (markAt === -1) {
        rest = text.slice(at)
        return
      }
      const line = text.slice(at, markAt)
      at = markAt + mark.length
      if (state === 'head') readHead(line)
      else readLine(line)
    }
  }
}
