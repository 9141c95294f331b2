import type { FastifyReply } from 'fastify'
import type { FastifyPluginAsyncZod } from 'fastify-type-provider-zod'
import { openEventStream, startHeartbeat } from '../streaming/event-stream.ts'
import { samples } from './live.schemas.ts'

const routes: FastifyPluginAsyncZod = async (app) => {
  const streams = new Set<() => void>()
  app.addHook('preClose', async () => {
    for (const end of streams) end()
  })

  app.get(
    '',
    {
      config: { neverShed: true }, // most useful under overload
      schema: { operationId: 'watch', summary: 'Watch streams, pooler and database', response: { 200: samples } },
    },
    async ({ headers }, reply) => {
      if (!headers.accept?.includes('text/event-stream')) return app.metrics.live.read()
      await sendSamples(reply, streams)
    },
  )

  /** Streams samples until the client disconnects or the server closes. */
  async function sendSamples(reply: FastifyReply, streams: Set<() => void>) {
    const stream = openEventStream(reply)
    const closed = Promise.withResolvers<void>()
    const end = () => stream.end('')
    // Slow clients skip samples.
    const stop = app.metrics.live.watch(
      (sample) => stream.isFull() || stream.send(`data: ${JSON.stringify(sample)}\n\n`),
    )
    const stopHeartbeat = startHeartbeat(stream)
    streams.add(end)
    stream.response.on('close', closed.resolve)
    stream.response.on('error', closed.resolve) // a connection reset emits `error` before `close`
    stream.begin()
    await closed.promise
    stop()
    stopHeartbeat()
    streams.delete(end)
  }
}

export default routes
