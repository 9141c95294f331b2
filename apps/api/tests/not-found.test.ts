import { randomUUID } from 'node:crypto'
import { toLlm } from '@repo/llm'
import { openStatementCounter } from '@repo/testing/count-statements'
import { createTestModels } from '@repo/testing/test-models'
import { afterAll, beforeAll, expect, it } from 'vitest'
import { testApp } from '../src/testing.ts'
import { fillRequest, type Operation, readOperations } from './testing-routes.ts'

// A response to somebody else's id takes as long as one to an id that never existed, because it runs the same statements.

const pairs = 100 // requests with each id, in turns

const counter = await openStatementCounter()
const { app, alice, bob, close } = await testApp({ llm: toLlm(createTestModels()), gate: counter })
afterAll(async () => {
  await close()
  await counter.close()
})
const operations = readOperations((await app.inject('/openapi.json')).json()).filter(
  ({ hasId, path }) => hasId && !path.startsWith('/v1/'), // models belong to nobody
)

const conversation = randomUUID()
const document = { id: '' }
beforeAll(async () => {
  const question = { message: 'When does the office open?', conversationId: conversation }
  await app.inject({ method: 'POST', url: '/chat', headers: alice, payload: question })
  const payload = { title: 'Office', text: 'The office opens at nine.' }
  document.id = (await app.inject({ method: 'POST', url: '/documents', headers: alice, payload })).json().id
})

/** Bob sends one request. Returns its duration in ms, and its status with its statements. */
async function send(operation: Operation, id: string) {
  const request = fillRequest(operation, { id })
  counter.take()
  const startedAt = performance.now()
  const { statusCode } = await app.inject({ ...request, headers: { ...request.headers, ...bob } })
  return { ms: performance.now() - startedAt, work: [statusCode, ...counter.take()].join('\n') }
}

type Sent = Awaited<ReturnType<typeof send>>

const findMedian = (sent: Sent[]) =>
  sent.map(({ ms }) => ms).toSorted((a, b) => a - b)[Math.floor(sent.length / 2)] ?? 0

/** The process has statements of its own now and then. They are in few of the requests. */
function findMostFrequent(sent: Sent[]): string | undefined {
  const groups = [...Map.groupBy(sent, ({ work }) => work)].toSorted(([, a], [, b]) => b.length - a.length)
  return groups[0]?.[0]
}

it.for(operations)('$method $path', async (operation, { annotate }) => {
  const { method, path } = operation
  const foreign: Sent[] = []
  const unknown: Sent[] = []
  for (let n = 0; n < pairs; n += 1) {
    foreign.push(await send(operation, path.startsWith('/documents') ? document.id : conversation))
    unknown.push(await send(operation, randomUUID()))
  }
  expect(findMostFrequent(foreign)).toBe(findMostFrequent(unknown))
  const [theirs, nobodys] = [findMedian(foreign), findMedian(unknown)].map((ms) => ms.toFixed(2))
  await annotate(`${method} ${path}: ${theirs} ms for another owner’s id, ${nobodys} ms for one that does not exist`)
})
