import { subscribe, unsubscribe } from 'node:diagnostics_channel'

/** An HTTP request that was created and not sent yet. */
export type Call = {
  url: URL
  method: string
  /** Makes the request fail. Returns false if this version of undici has no such method. */
  reject: (error: Error) => boolean
}

export type Callback = (...args: never[]) => unknown

/**
 * Calls `onRequest` synchronously for each request of `fetch`, undici, `node:http` and `node:https` that is created.
 * Returns a function that ends this.
 */
export function watchNetwork(onRequest: (read: () => Call, below: Callback) => void): () => void {
  const watch = (channel: string, read: (request: Request) => Call) => {
    const onMessage = (message: unknown) => onRequest(() => read(Object(message).request), onMessage)
    subscribe(channel, onMessage)
    return () => unsubscribe(channel, onMessage)
  }
  const watches = [watch('http.client.request.created', readHttp), watch('undici:request:create', readUndici)]
  return () => {
    for (const end of watches) end()
  }
}

type Request = { method: string; path: string; origin: string | URL; protocol: string; host: string } & {
  getHeader: (name: string) => unknown
  [method: string]: unknown
}

function readHttp(request: Request): Call {
  const origin = `${request.protocol}//${request.getHeader('host') ?? request.host}`
  return { url: readUrl(origin, request.path), method: request.method, reject: rejectBy(request, 'destroy') }
}

/** A subscriber cannot throw. These methods are undici's own, before and since its version 8. */
function readUndici(request: Request): Call {
  const reject = rejectBy(request, 'onError' in request ? 'onError' : 'onResponseError')
  return { url: readUrl(String(request.origin), request.path), method: request.method, reject }
}

function rejectBy(request: Request, method: string) {
  return (error: Error) => {
    if (typeof request[method] !== 'function') return false
    request[method](error)
    return true
  }
}

/** Leaves out the query, which may contain a key. */
function readUrl(origin: string, path: string): URL {
  const url = URL.parse(path, origin) ?? new URL('http://unknown')
  url.search = ''
  return url
}
