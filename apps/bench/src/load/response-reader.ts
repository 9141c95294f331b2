export type ResponseHandler = {
  onHead: (status: number, head: string) => void
  /** A part of the body: what `text` has between the two, without a slice of its own. */
  onBody: (text: string, from: number, to: number) => void
  /** The response is whole; `canReuse` says whether the connection takes another request. */
  onEnd: (canReuse: boolean) => void
}

type State = 'head' | 'size' | 'chunk' | 'chunk-end' | 'body' | 'trailer'

/**
 * Reads the HTTP/1.1 responses of one connection, chunked or with a length, from pieces cut anywhere; a character is a
 * byte (latin1). It is our own because a load generator shall cost less a token than what it measures. Throws at what is not HTTP.
 */
export function createResponseReader({ onHead, onBody, onEnd }: ResponseHandler): (piece: string) => void {
  let state: State = 'head'
  let left = 0 // of the chunk or the body
  let rest = '' // a line that is not whole yet
  let canReuse = true

  const end = () => {
    state = 'head'
    onEnd(canReuse)
  }
  const readHead = (head: string) => {
    const status = Number(/^HTTP\/1\.1 (\d{3})/.exec(head)?.[1])
    const length = Number(/^content-length: *(\d+)/im.exec(head)?.[1])
    const isChunked = /^transfer-encoding: *chunked/im.test(head)
    if (!status || (!isChunked && Number.isNaN(length))) throw new Error('not an HTTP/1.1 response with a length')
    canReuse = !/^connection: *close/im.test(head)
    state = isChunked ? 'size' : 'body'
    left = isChunked ? 0 : length
    onHead(status, head)
    if (length === 0) end()
  }
  const readLine = (line: string) => {
    if (state === 'size') {
      left = Number.parseInt(line, 16)
      if (Number.isNaN(left)) throw new Error('not a chunk')
      state = left === 0 ? 'trailer' : 'chunk'
    } else if (state === 'chunk-end') {
      if (line !== '') throw new Error('a chunk longer than it says')
      state = 'size'
    } else if (line === '') end()
  }
  /** Passes on what there is of a chunk or a body. Returns where that ends. */
  const readPart = (text: string, at: number) => {
    const to = Math.min(at + left, text.length)
    left -= to - at
    onBody(text, at, to)
    if (left === 0 && state === 'chunk') state = 'chunk-end'
    else if (left === 0) end()
    return to
  }

  return (piece) => {
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
