import { createTestDatabase } from '@repo/db/testing'
import { startApi, startCollector, startProgram } from '@repo/testing/processes'
import { post } from '@repo/testing/ui-stream'
import { afterAll, expect, it } from 'vitest'

const test = await createTestDatabase()
afterAll(test.drop)
const collector = await startCollector()
const env = { DATABASE_URL: test.databaseUrl, ...collector.env }
const [api, worker] = [await startApi(env), startProgram('apps/worker/dist/worker.js', env)]

it('the worker’s spans and log lines belong to the trace of the request that posted the document', async () => {
  const traceId = crypto.randomUUID().replaceAll('-', '')
  const traceparent = `00-${traceId}-00000000000000aa-01`
  expect((await post(`${api.url}/documents`, { traceparent }, { title: 'Heron', text: 'A bird.' })).status).toBe(202)
  const names = ['POST /documents', 'process ingest-document', 'embeddings offline-384']
  const spans = await collector.findTrace(traceId, ...names)
  const [request, job, embedding] = names.map((name) => spans.find((span) => span.name === name))
  expect(job?.parentSpanId).toBe(request?.spanId)
  expect(embedding?.parentSpanId).toBe(job?.spanId)
  await worker.findLog(({ msg, trace_id: id }) => msg === 'job ended' && id === traceId)
  expect(collector.text()).toContain('sluice-worker')
  expect(collector.text()).not.toContain('Heron')
  worker.child.kill('SIGTERM')
  expect(await worker.ended).toBe(0)
})
