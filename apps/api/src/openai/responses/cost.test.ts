import { createTestDatabase } from '@repo/db/testing'
import { startMockModel } from '@repo/testing/mock-model'
import { startApi } from '@repo/testing/processes'
import { post } from '@repo/testing/ui-stream'
import { afterAll, expect, it } from 'vitest'

// What a token costs in the API process, compared in one run: the machine's clock drifts from day to day.

const test = await createTestDatabase()
const mock = await startMockModel()
afterAll(async () => {
  await mock.close()
  await test.drop()
})
const api = await startApi({ DATABASE_URL: test.databaseUrl, OPENAI_BASE_URL: mock.url, CHAT_MODEL: 'mock' })

const streams = 50
const rounds = 10
const common = { model: 'mock', stream: true, retrieval: false }
const routes = {
  completions: (content: string) => ({
    path: '/v1/chat/completions',
    body: { ...common, messages: [{ role: 'user', content }] },
    delta: /"content":"[^"]/g,
  }),
  responses: (input: string) => ({
    path: '/v1/responses',
    body: { ...common, input },
    delta: /^data: \{"type":"response\.output_text\.delta"/gm,
  }),
}

/** Returns the CPU time of the API process so far, in µs. */
async function readCpu(): Promise<number> {
  const text = await (await fetch(`${api.url}/metrics`)).text()
  return 1e6 * Number(/^process_cpu_seconds_total (\S+)$/m.exec(text)?.[1])
}

type Pace = { interval: number; tokens: number }

/** Returns the CPU time of one round. Its streams arrive at the pace of a fast model, or as fast as they are read. */
async function measure(name: keyof typeof routes, { interval, tokens }: Pace): Promise<number> {
  const { path, body, delta } = routes[name](`Go on? [mock tokens=${tokens} interval=${interval}]`)
  const before = await readCpu()
  const texts = await Promise.all(
    Array.from({ length: streams }, async () => (await post(`${api.url}${path}`, {}, body)).text()),
  )
  const cpu = (await readCpu()) - before
  for (const text of texts) expect(text.match(delta)?.length).toBe(tokens)
  return cpu
}

it.for<Pace>([
  { interval: 10, tokens: 200 },
  { interval: 0, tokens: 1000 },
])('a token costs about the same in both APIs, one per $interval ms', async (pace, { annotate }) => {
  const { interval, tokens } = pace
  const sums = { completions: 0, responses: 0 }
  const ratios: number[] = []
  for (let round = -2; round < rounds; round += 1) {
    const completions = round % 2 === 0 ? await measure('completions', pace) : undefined
    const responses = await measure('responses', pace)
    const cost = { completions: completions ?? (await measure('completions', pace)), responses }
    if (round < 0) continue // warm-up: compiles the code
    sums.completions += cost.completions
    sums.responses += cost.responses
    ratios.push(cost.responses / cost.completions)
  }
  const perToken = (name: keyof typeof sums) => (sums[name] / (rounds * streams * tokens)).toFixed(1)
  const spread = ratios.toSorted((a, b) => a - b).map((ratio) => ratio.toFixed(2))
  const ratio = sums.responses / sums.completions
  await annotate(
    `one token per ${interval} ms: ${perToken('completions')} µs of CPU in completions, ${perToken('responses')} in responses: ${ratio.toFixed(2)} times (rounds: ${spread.join(' ')})`,
  )
  expect(ratio).toBeLessThan(1.5)
})
