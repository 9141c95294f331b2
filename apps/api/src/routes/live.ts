import type { FastifyReply } from 'fastify'
import type { FastifyPluginAsyncZod } from 'fastify-type-provider-zod'
import { z } from 'zod'
import { openEventStream, startHeartbeat } from '../streaming/event-stream.ts'

const example = {
  at: '2026-11-24T09:00:00.000Z',
  processes: 2,
  openStreams: 500,
  deltas: 81_250,
  eventLoopDelayMs: 4.1,
  poolerClients: 20,
  poolerClientsWaiting: 0,
  serversInUse: 1,
  serversIdle: 9,
}

const count = (description: string) => z.int().meta({ description })
const poolerCount = (description: string) =>
  z
    .int()
    .nullable()
    .meta({ description: `${description}. Null without data from PgBouncer` })

const LiveSample = z
  .object({
    at: z.iso.datetime(),
    processes: count('API processes of this deployment. The other values are sums over them'),
    openStreams: count('Answers being generated'),
    deltas: count('Deltas sent by models since the start, usually one per token'),
    eventLoopDelayMs: z.number().meta({ description: 'The longest delay of the last second, over all processes' }),
    poolerClients: poolerCount('Connections of the API to PgBouncer'),
    poolerClientsWaiting: poolerCount('Connections waiting for a Postgres connection'),
    serversInUse: poolerCount('Postgres connections in use'),
    serversIdle: poolerCount('Idle Postgres connections'),
  })
  .meta({ id: 'LiveSample', description: 'The current load', examples: [example] })

const SampleStream = z.string().meta({
  description: 'One sample per second until the client disconnects',
  examples: [`data: ${JSON.stringify(example)}\n\n`],
})
const samples = {
  description: 'One sample, or a stream of samples with `accept: text/event-stream`',
  content: { 'application/json': { schema: LiveSample }, 'text/event-stream': { schema: SampleStream } },
}

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
