import type { Config } from '@repo/config'
import type { FastifyInstance, FastifyRequest } from 'fastify'
import fp from 'fastify-plugin'
import { repeat } from '../repeat.ts'

declare module 'fastify' {
  interface FastifyInstance {
    /** Size of the largest accepted file, in bytes. */
    maxUploadBytes: number
    /** Whether an external extractor reads the types that we do not read. */
    hasExtractor: boolean
  }
}

const bodyTimeoutMs = 30_000 // for a whole body: 8 MB, the largest JSON, at 2.5 Mbit/s
const silenceTimeoutMs = 30_000 // without data during an upload: a phone that changes its network needs some seconds
const msPerMegabyte = 8000 // 1 Mbit/s: slow mobile networks and old DSL
const sweepIntervalMs = 60_000

/** Returns how long a request may take to arrive, in ms: the largest file over a slow line. */
export const toRequestTimeout = ({ MAX_UPLOAD_MB }: Config) => bodyTimeoutMs + MAX_UPLOAD_MB * msPerMegabyte

/**
 * Gives uploads more time to arrive than other requests, and removes uploads whose process was killed. A live upload is
 * never removed: it receives a part, or is ended, within the time that a request may take.
 */
async function uploads(app: FastifyInstance, config: Config) {
  app.decorate('maxUploadBytes', config.MAX_UPLOAD_MB * 1024 * 1024)
  app.decorate('hasExtractor', config.EXTRACTOR_URL !== undefined)
  app.addHook('onRequest', async (request) => limitBody(app, request))

  const silentMs = toRequestTimeout(config) + sweepIntervalMs
  const sweep = async () => void (await app.store.uploads.sweep(silentMs))
  const stop = repeat(sweepIntervalMs, sweep, (error) => app.log.warn({ err: error }, 'failed to sweep uploads'))
  app.addHook('onClose', async () => stop())
}

/** Ends a request whose body takes too long. Node has one `requestTimeout` for all routes, which is that of uploads. */
function limitBody({ server }: FastifyInstance, { raw, headers, routeOptions }: FastifyRequest) {
  if (headers['content-length'] === undefined && headers['transfer-encoding'] === undefined) return
  const isUpload = routeOptions.config.form !== undefined && /^multipart\//i.test(headers['content-type'] ?? '')
  let bytesRead = raw.socket.bytesRead
  const check = () => {
    if (isUpload && raw.socket.bytesRead > bytesRead) {
      bytesRead = raw.socket.bytesRead
      return void timer.refresh()
    }
    // The same error as Node's own timeout: `handleClientError` responds with 408 and closes the connection.
    const error = Object.assign(new Error('timeout'), { code: 'ERR_HTTP_REQUEST_TIMEOUT' })
    if (raw.socket.destroyed === false) server.emit('clientError', error, raw.socket)
  }
  const timer = setTimeout(check, isUpload ? silenceTimeoutMs : bodyTimeoutMs).unref()
  for (const event of ['end', 'close']) raw.once(event, () => clearTimeout(timer))
}

export default fp(uploads, { name: 'uploads' })
