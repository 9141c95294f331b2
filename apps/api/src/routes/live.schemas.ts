import { z } from 'zod'

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

export const samples = {
  description: 'One sample, or a stream of samples with `accept: text/event-stream`',
  content: { 'application/json': { schema: LiveSample }, 'text/event-stream': { schema: SampleStream } },
}
