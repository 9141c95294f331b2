import type { FastifyReply } from 'fastify'
import type { FastifyPluginAsyncZod } from 'fastify-type-provider-zod'
import { z } from 'zod'
import { openEventStream, startHeartbeat } from '../chat/event-stream.ts'

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
const ofPooler = (description: string) =>
  z
    .int()
    .nullable()
    .meta({ description: `${description}; null when PgBouncer does not say` })

const LiveSample = z
  .object({
    at: z.iso.datetime(),
    processes: count('API processes of this start; all that follows is their sum'),
    openStreams: count('Answers that are being written'),
    deltas: count('Deltas that models have sent since the start, a token each as a rule'),
    eventLoopDelayMs: z
      .number()
      .meta({ description: 'The worst of the last second, in the process where it was worst' }),
    poolerClients: ofPooler('Connections of the API to PgBouncer'),
    poolerClientsWaiting: ofPooler('Those that wait for a connection to Postgres'),
    serversInUse: ofPooler('Connections to Postgres that are lent to a client'),
    serversIdle: ofPooler('Connections to Postgres that are free'),
  })
  .meta({ id: 'LiveSample', description: 'How the whole is doing now', examples: [example] })

const SampleStream = z.string().meta({
  description: 'A sample a second, for as long as the client stays',
  examples: [`data: ${JSON.stringify(example)}\n\n`],
})
const samples = {
  description: 'One sample; a stream of them for who accepts `text/event-stream`',
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
      config: { neverShed: true }, // overload is when it is needed most
      schema: { operationId: 'watch', summary: 'Watch streams, pooler and database', response: { 200: samples } },
    },
    async ({ headers }, reply) => {
      if (!headers.accept?.includes('text/event-stream')) return app.metrics.live.read()
      await sendSamples(reply, streams)
    },
  )

  /** Resolves when the client has left, or the server closes. */
  async function sendSamples(reply: FastifyReply, streams: Set<() => void>) {
    const stream = openEventStream(reply)
    const closed = Promise.withResolvers<void>()
    const end = () => stream.end('')
    // Whoever does not read gets the newest later, not all that was missed.
    const stop = app.metrics.live.watch(
      (sample) => stream.isFull() || stream.send(`data: ${JSON.stringify(sample)}\n\n`),
    )
    const stopHeartbeat = startHeartbeat(stream)
    streams.add(end)
    stream.response.on('close', closed.resolve)
    stream.response.on('error', closed.resolve) // a reset shows here first; `close` follows
    stream.begin()
    await closed.promise
    stop()
    stopHeartbeat()
    streams.delete(end)
  }
}

export default routes
