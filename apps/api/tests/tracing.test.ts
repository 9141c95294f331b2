import { once } from 'node:events'
import { createServer } from 'node:net'
import { createTestDatabase } from '@repo/db/testing'
import { startApi, startCollector, startProgram, startScriptedServer, until } from '@repo/testing/processes'
import { post, readParts } from '@repo/testing/ui-stream'
import { afterAll, describe, expect, it } from 'vitest'

const test = await createTestDatabase()
afterAll(test.drop)
const collector = await startCollector()
const vendor = await startScriptedServer()
const database = { DATABASE_URL: test.databaseUrl }
const away = { name: 'away', baseUrl: 'http://127.0.0.1:9/v1', fallback: 'spoken' } // nothing listens there
const CHAT_MODELS = JSON.stringify([away])
const api = await startApi({ ...database, ...vendor.env, ...collector.env, CHAT_MODELS })

await fetch(`${api.url}/documents`) // with AUTH=off, the first request creates the owner

const newTraceId = () => crypto.randomUUID().replaceAll('-', '')
const traceOf = (traceId: string) => ({ traceparent: `00-${traceId}-00000000000000aa-01` })
const queries = ['turns.open', 'passages.search', 'answers.finish']
const chatSpans = ['POST /chat', 'retrieval documents', 'embeddings offline-384', 'chat spoken', 'stream', ...queries]

describe('a traced chat', () => {
  it('is one trace, with the model call and the stream to its end, even beside a concurrent chat', async () => {
    const traces = [newTraceId(), newTraceId()]
    const asked = traces.map((traceId) => post(`${api.url}/chat`, traceOf(traceId), { message: 'When does it open?' }))
    const answers = [await vendor.takeAnswer(), await vendor.takeAnswer()]
    // The words of both chats alternate, and no span may end up in the other's trace.
    for (const answer of answers) answer.say('one')
    for (const answer of answers) answer.say(' two')
    answers[0]?.say(' three')
    for (const answer of answers) answer.end()
    for (const response of asked) await readParts(await response)

    const callers = answers.map(({ headers }) => `${headers.traceparent}`)
    const found = await Promise.all(traces.map((traceId) => collector.findTrace(traceId, ...chatSpans)))
    for (const spans of found) {
      const byName = Object.fromEntries(spans.map((span) => [span.name, span]))
      expect(spans.map(({ name }) => name).sort()).toEqual(chatSpans.toSorted())
      const { 'POST /chat': request, 'chat spoken': call, stream } = byName
      expect(request?.parentSpanId).toBe('00000000000000aa')
      const retrieval = byName['retrieval documents']
      const inRetrieval = ['embeddings offline-384', 'passages.search']
      for (const span of spans) {
        if (span === request) continue
        expect(span.parentSpanId, span.name).toBe((inRetrieval.includes(span.name) ? retrieval : request)?.spanId)
      }
      expect(callers).toContain(`00-${call?.traceId}-${call?.spanId}-01`)
      expect(stream?.startTimeUnixNano).toBeGreaterThan(call?.startTimeUnixNano ?? 0n)
      expect(stream?.endTimeUnixNano).toBeGreaterThan(stream?.startTimeUnixNano ?? 0n)
      expect(request?.attributes).toMatchObject({ 'http.route': '/chat', 'http.response.status_code': 200 })
      expect(call?.attributes).toMatchObject({
        'gen_ai.operation.name': 'chat',
        'gen_ai.provider.name': 'openai',
        'gen_ai.request.model': 'spoken',
        'gen_ai.response.model': 'spoken-2026-11',
        'gen_ai.response.id': 'chatcmpl-spoken',
      })
      expect(byName['passages.search']?.attributes).toEqual({
        'db.system.name': 'postgresql',
        'db.operation.name': 'passages.search',
      })
    }
    expect(callers[0]).not.toBe(callers[1])
    const streams = found.flat().filter(({ name }) => name === 'stream')
    expect(streams.map(({ attributes }) => attributes['sluice.deltas']).sort()).toEqual([2, 3])
  })

  it('has a span for each model that is called', async () => {
    const traceId = newTraceId()
    const asked = post(`${api.url}/chat`, traceOf(traceId), { message: 'When does it open?', model: 'away' })
    const answer = await vendor.takeAnswer()
    answer.end()
    await readParts(await asked)
    const spans = await collector.findTrace(traceId, ...chatSpans, 'chat away')
    const failed = spans.find(({ name }) => name === 'chat away')
    expect(failed?.attributes).toMatchObject({ 'gen_ai.request.model': 'away', 'error.type': 'model_unreachable' })
  })

  it('has a span for each step and each tool, with the usage of each call', async () => {
    const agent = await startApi({ ...database, ...vendor.env, ...collector.env, RETRIEVAL: 'tool' })
    const traceId = newTraceId()
    const asked = post(`${agent.url}/chat`, traceOf(traceId), { message: 'When does it open?' })
    const first = await vendor.takeAnswer()
    first.call('search_documents', { query: 'opening hours' })
    first.end({ prompt_tokens: 50, completion_tokens: 5 }, 'tool_calls')
    const second = await vendor.takeAnswer()
    second.say('At nine.')
    second.end({ prompt_tokens: 90, completion_tokens: 3, completion_tokens_details: { reasoning_tokens: 1 } })
    await readParts(await asked)
    const spans = await collector.findTrace(traceId, 'stream', 'passages.search', 'answers.finish')
    const steps = spans.filter(({ name }) => name === 'chat spoken')
    expect(steps.map(({ attributes }) => attributes['gen_ai.usage.input_tokens'])).toEqual([50, 90])
    expect(steps[1]?.attributes).toMatchObject({ 'gen_ai.usage.reasoning.output_tokens': 1 })
    const spanOf = (wanted: string) => spans.find(({ name }) => name === wanted)
    const tool = spanOf('execute_tool search_documents')
    expect(tool?.attributes).toEqual({
      'gen_ai.operation.name': 'execute_tool',
      'gen_ai.tool.name': 'search_documents',
    })
    expect(spanOf('retrieval documents')?.parentSpanId).toBe(tool?.spanId)
    expect(collector.text()).not.toContain('opening hours')
  })

  it('has its ids in the log lines', async () => {
    const traceId = newTraceId()
    const asked = post(`${api.url}/chat`, traceOf(traceId), { message: 'When does it open?' })
    const answer = await vendor.takeAnswer()
    answer.end()
    await readParts(await asked)
    for (const words of ['answer ended', 'request ended']) {
      const line = await api.findLog(({ msg, trace_id: id }) => msg === words && id === traceId)
      expect(line).toHaveProperty('span_id')
    }
  })

  it('lasts as long as the answer, even if its client has disconnected', async () => {
    const traceId = newTraceId()
    const leaving = new AbortController()
    const asked = post(`${api.url}/chat`, traceOf(traceId), { message: 'When does it open?' }, leaving.signal)
    const answer = await vendor.takeAnswer()
    answer.say('one')
    await asked
    leaving.abort()
    const [request] = await collector.findTrace(traceId, 'POST /chat')
    answer.say(' two')
    answer.end({ prompt_tokens: 100, completion_tokens: 2, prompt_tokens_details: { cached_tokens: 64 } })
    const spans = await collector.findTrace(traceId, ...chatSpans)
    const stream = spans.find(({ name }) => name === 'stream')
    expect(stream?.attributes).toMatchObject({ 'sluice.status': 'complete', 'sluice.deltas': 2 })
    const call = spans.find(({ name }) => name === 'chat spoken')
    expect(call?.attributes).toMatchObject({
      'gen_ai.usage.input_tokens': 100,
      'gen_ai.usage.cache_read.input_tokens': 64,
      'gen_ai.usage.output_tokens': 2,
    })
    expect(stream?.endTimeUnixNano).toBeGreaterThan(request?.endTimeUnixNano ?? 0n)
  })

  it('is not recorded for routes that machines poll every few seconds', async () => {
    for (const path of ['/health/live', '/health/ready', '/metrics', '/documents'])
      await fetch(`${api.url}${path}`, { headers: traceOf('f'.repeat(32)) })
    const spans = await collector.findTrace('f'.repeat(32), 'GET /documents', 'documents.list')
    expect(spans.map(({ name }) => name).sort()).toEqual(['GET /documents', 'documents.list'])
  })

  it('contains no user data: no text, no id, no error message', async () => {
    const secret = 'heron'
    await fetch(`${api.url}/search?q=${secret}`)
    await fetch(`${api.url}/conversations/${secret}`)
    await fetch(`${api.url}/${secret}`)
    await post(`${api.url}/documents`, {}, { title: secret, text: secret, externalId: secret })
    const asked = post(`${api.url}/chat`, traceOf(newTraceId()), { message: secret, conversationId: secret })
    const answer = await vendor.takeAnswer()
    answer.say(secret)
    answer.fail(secret)
    expect(JSON.stringify(await readParts(await asked))).toContain('"error"')
    const failed = await until(() =>
      collector.spans().find(({ attributes }) => attributes['sluice.status'] === 'failed'),
    )
    expect(failed.status).toEqual({ code: 2 })
    await until(() => collector.spans().some(({ name }) => name === 'POST /documents'))
    expect(collector.text()).toContain('/conversations/:id')
    expect(collector.text()).not.toContain(secret)
    expect(collector.spans().filter(({ status }) => status.message !== undefined)).toEqual([])
  })
})

describe('the texts of model calls and tools', () => {
  const setting = 'OTEL_INSTRUMENTATION_GENAI_CAPTURE_MESSAGE_CONTENT'
  const secrets = { vendor: 'sk-vendor-heron', caller: 'sl_caller_heron', picture: 'cGljdHVyZQ' }

  /** Asks a question that needs a tool, and OpenAI's API one with a picture. Returns the spans, and all that was sent. */
  async function askBoth(capture: string) {
    const received = await startCollector()
    const agent = await startApi({
      ...{ ...database, ...vendor.env, ...received.env, [setting]: capture },
      ...{ OPENAI_API_KEY: secrets.vendor, RETRIEVAL: 'tool', SYSTEM_PROMPT: 'Think of storks.' },
    })
    const headers = { authorization: `Bearer ${secrets.caller}` }
    const asked = post(`${agent.url}/chat`, headers, { message: 'When do ibises eat?' })
    const first = await vendor.takeAnswer()
    first.call('search_documents', { query: 'bitterns at noon' })
    first.end(undefined, 'tool_calls')
    const second = await vendor.takeAnswer()
    second.say('At curlew')
    second.say(' time.')
    second.end()
    await readParts(await asked)
    const image = { type: 'image_url', image_url: { url: `data:image/png;base64,${secrets.picture}` } }
    const content = [image, { type: 'text', text: 'An egret?' }]
    const body = { model: 'spoken', stream: true, retrieval: false, messages: [{ role: 'user', content }] }
    const completed = post(`${agent.url}/v1/chat/completions`, headers, body)
    const third = await vendor.takeAnswer()
    third.say('A crane.')
    third.end({ prompt_tokens: 7, completion_tokens: 2 })
    await (await completed).text()
    agent.child.kill('SIGTERM') // sends the remaining spans
    await agent.ended
    return { spans: received.spans(), text: received.text() }
  }
  const birds = /stork|ibis|bittern|curlew|egret|crane/
  const listContent = (spans: { attributes: Record<string, unknown> }[]) =>
    spans.flatMap(({ attributes }) =>
      Object.entries(attributes).filter(([name]) => /messages$|\.(arguments|result|text)$/.test(name)),
    )

  it.for(['', 'no_content', 'false'])('do not leave the process with "%s"', async (off) => {
    const { spans, text } = await askBoth(off)
    expect(spans.filter(({ name }) => name === 'chat spoken').length).toBe(3)
    expect(listContent(spans)).toEqual([])
    expect(text).not.toMatch(birds)
  })

  it('are recorded on request, without keys and images', async () => {
    const { spans, text } = await askBoth('span_only')
    for (const secret of Object.values(secrets)) expect(text).not.toContain(secret)
    const read = (name: string, at: number) => {
      const value = listContent(spans).filter(([key]) => key === name)[at]?.[1]
      return typeof value === 'string' && /^[[{]/.test(value) ? JSON.parse(value) : value
    }
    const call = { type: 'tool_call', name: 'search_documents', arguments: '{"query":"bitterns at noon"}' }
    expect(read('gen_ai.input.messages', 0)).toEqual([
      { role: 'system', parts: [{ type: 'text', content: expect.stringContaining('Think of storks.') }] },
      { role: 'user', parts: [{ type: 'text', content: 'When do ibises eat?' }] },
    ])
    expect(read('gen_ai.output.messages', 0)).toEqual([
      { role: 'assistant', parts: [expect.objectContaining(call)], finish_reason: 'tool_calls' },
    ])
    expect(read('gen_ai.input.messages', 1).slice(2)).toEqual([
      { role: 'assistant', parts: [expect.objectContaining(call)] },
      { role: 'tool', parts: [{ type: 'tool_call_response', id: expect.any(String), response: '{"passages":[]}' }] },
    ])
    const said = (content: string) => [{ role: 'assistant', parts: [{ type: 'text', content }], finish_reason: 'stop' }]
    expect(read('gen_ai.output.messages', 1)).toEqual(said('At curlew time.'))
    expect(read('gen_ai.tool.call.arguments', 0)).toEqual({ query: 'bitterns at noon' })
    expect(read('gen_ai.tool.call.result', 0)).toEqual({ passages: [] })
    expect(read('gen_ai.retrieval.query.text', 0)).toBe('bitterns at noon')
    expect(read('gen_ai.input.messages', 2)).toEqual([
      { role: 'user', parts: [{ type: 'image_url' }, { type: 'text', content: 'An egret?' }] },
    ])
    expect(read('gen_ai.output.messages', 2)).toEqual(said('A crane.'))
    expect(spans.filter(({ name }) => name === 'chat spoken')[2]?.attributes).toMatchObject({
      'gen_ai.response.model': 'spoken-2026-11',
      'gen_ai.usage.input_tokens': 7,
    })
  })
})

describe('a collector', () => {
  it('that rejects spans fails no request, is logged once, and does not delay the exit', async () => {
    const away = { ...collector.env, OTEL_EXPORTER_OTLP_ENDPOINT: 'http://127.0.0.1:9' }
    const alone = await startApi({
      ...database,
      ...away,
      OTEL_BSP_MAX_QUEUE_SIZE: '64',
      OTEL_EXPORTER_OTLP_TIMEOUT: '200',
    })
    for (let count = 0; count < 200; count += 1) expect((await fetch(`${alone.url}/documents`)).status).toBe(200)
    await alone.findLog(({ msg }) => msg.startsWith('Failed to export traces'))
    alone.child.kill('SIGTERM')
    expect(await alone.ended).toBe(0)
    expect(alone.logs().filter(({ msg }) => msg.startsWith('Failed to export traces')).length).toBe(1)
  })

  it('that does not respond delays the exit by no more than 2 s', async () => {
    const server = createServer().listen(0, '127.0.0.1')
    await once(server, 'listening')
    const address = server.address()
    const port = typeof address === 'object' ? address?.port : 0
    const endpoint = `http://127.0.0.1:${port}`
    const silent = { OTEL_EXPORTER_OTLP_ENDPOINT: endpoint, OTEL_EXPORTER_OTLP_TIMEOUT: '3600000' }
    const alone = await startApi({ ...database, ...silent })
    await fetch(`${alone.url}/documents`)
    alone.child.kill('SIGTERM')
    expect(await alone.ended).toBe(0) // the test times out after 20 s
    server.close()
  })

  it('with a path and credentials, such as Langfuse, receives both', async () => {
    const langfuse = await startCollector()
    const alone = await startApi({
      ...database,
      ...langfuse.env,
      OTEL_EXPORTER_OTLP_ENDPOINT: `${langfuse.env.OTEL_EXPORTER_OTLP_ENDPOINT}/api/public/otel`,
      OTEL_EXPORTER_OTLP_HEADERS: 'Authorization=Basic cGstbGYtMTpzay1sZi0y',
    })
    await fetch(`${alone.url}/documents`)
    await until(() => langfuse.spans().length > 0)
    const authorization = 'Basic cGstbGYtMTpzay1sZi0y'
    expect(langfuse.callers[0]).toEqual({ url: '/api/public/otel/v1/traces', authorization })
  })

  it('receives only what OTEL_TRACES_SAMPLER includes', async () => {
    const quiet = await startCollector()
    const alone = await startApi({ ...database, ...quiet.env, OTEL_TRACES_SAMPLER: 'always_off' })
    await fetch(`${alone.url}/documents`)
    alone.child.kill('SIGTERM')
    await alone.ended
    expect(quiet.spans()).toEqual([])
  })
})

describe('without OTEL_EXPORTER_OTLP_ENDPOINT', () => {
  const list =
    'process.on("exit",()=>console.error(Object.keys(process.getBuiltinModule("module")._cache).join("\\n")))'
  const listLoaded = async (env: Record<string, string>) => {
    const nodeOptions = ['--import', `data:text/javascript,${encodeURIComponent(list)}`]
    // The source, because the bundle loads no packages.
    const alone = startProgram(
      'apps/api/src/server.ts',
      { PORT: '0', AUTH: 'off', ...database, ...env },
      [],
      nodeOptions,
    )
    const { address } = await alone.findLog(({ msg }) => msg === 'listening')
    await fetch(`${address}/documents`, { headers: traceOf(newTraceId()) })
    alone.child.kill('SIGTERM')
    await alone.ended
    const names = [...alone.written.err.matchAll(/node_modules\/(@(?:opentelemetry|fastify)\/(?:[\w-]+))\//g)]
    return new Set(names.map(([, name]) => name).filter((name) => /otel|opentelemetry/.test(`${name}`)))
  }

  it('nothing of OpenTelemetry is loaded, except the API that other packages import, which then has no effect', async () => {
    expect([...(await listLoaded({}))]).toEqual(['@opentelemetry/api'])
    expect([...(await listLoaded(collector.env))]).toContain('@opentelemetry/sdk-trace-base')
  })
})
