import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { createServer, type IncomingHttpHeaders, type ServerResponse } from 'node:http'
import { fileURLToPath } from 'node:url'
import { afterAll, expect, onTestFailed, onTestFinished, vi } from 'vitest'
import { z } from 'zod'

const LogLine = z.looseObject({ msg: z.string(), pid: z.number(), level: z.number(), address: z.string().optional() })
type LogLine = z.output<typeof LogLine>

const hangMs = 120_000 // a program starts within 2 s

/**
 * Starts a program of this app with exactly this environment, so that nothing of the developer's own leaks in. It is
 * killed when the test has finished, or the file's tests when it is started outside of one. `nodeOptions` come before
 * the file.
 */
export function startProgram(
  file: string,
  env: Record<string, string>,
  args: string[] = [],
  nodeOptions: string[] = [],
) {
  const path = fileURLToPath(new URL(file, import.meta.url))
  const child = spawn(process.execPath, [...nodeOptions, path, ...args], { env, stdio: ['ignore', 'pipe', 'pipe'] })
  const written = { out: '', err: '' }
  child.stdout.on('data', (bytes) => {
    written.out += bytes
  })
  child.stderr.on('data', (bytes) => {
    written.err += bytes
  })
  const closed = once(child, 'close')
  onFinished(async () => {
    child.kill('SIGKILL')
    await closed
  })
  if (isInTest()) onTestFailed(() => void process.stderr.write(`\n${file} wrote:\n${written.out}${written.err}`))
  const logs = () =>
    written.out
      .split('\n')
      .slice(0, -1)
      .map((line) => LogLine.parse(JSON.parse(line)))
  return {
    child,
    written,
    logs,
    /** The first line of the log that fits. */
    findLog: (fits: (line: LogLine) => boolean): Promise<LogLine> => until(() => logs().find(fits)),
    /** The exit code, once the process and all that wrote to its output have ended; null after a deadly signal. */
    ended: closed.then(([code]: unknown[]) => code),
  }
}

const isInTest = () => expect.getState().currentTestName !== undefined
const onFinished = (cleanUp: () => unknown) =>
  (isInTest() ? onTestFinished : afterAll)(async () => void (await cleanUp()))

/** Runs a program to its end. */
export async function runProgram(file: string, env: Record<string, string>, ...args: string[]) {
  const { ended, written } = startProgram(file, env, args)
  return { code: await ended, ...written }
}

/** Starts the API on a free port, without keys unless `env` says so, and waits until it listens. */
export async function startApi(env: Record<string, string>, nodeOptions: string[] = []) {
  const api = startProgram('server.ts', { PORT: '0', AUTH: 'off', ...env }, [], nodeOptions)
  const { address: url = '' } = await api.findLog(({ msg }) => msg === 'listening')
  return { ...api, url }
}

/** An OpenAI-compatible server whose answers the test speaks. `env` points the API at it. */
export async function startVendor() {
  const waiting: { headers: IncomingHttpHeaders; response: ServerResponse }[] = []
  const server = createServer((request, response) => {
    request.resume()
    response.writeHead(200, { 'content-type': 'text/event-stream' }).flushHeaders()
    waiting.push({ headers: request.headers, response })
  })
  await once(server.listen(0, '127.0.0.1'), 'listening')
  onFinished(() => {
    server.closeAllConnections()
    server.close()
  })
  const address = server.address()
  const port = typeof address === 'object' ? address?.port : undefined
  const toEvent = (choice: object) => `data: ${JSON.stringify({ choices: [choice] })}\n\n`
  return {
    env: { OPENAI_BASE_URL: `http://127.0.0.1:${port}/v1`, CHAT_MODEL: 'spoken' },
    /** The answer to the next question, once the API has asked it. */
    takeAnswer: async () => {
      const { headers, response } = await until(() => waiting.shift())
      return {
        headers,
        say: (content: string) => void response.write(toEvent({ delta: { content } })),
        end: () => void response.end(`${toEvent({ delta: {}, finish_reason: 'stop' })}data: [DONE]\n\n`),
        /** As vendors end a stream that fails: with an error that may quote anything. */
        fail: (message: string) => void response.end(`data: ${JSON.stringify({ error: { message } })}\n\n`),
        isHungUp: () => response.destroyed,
      }
    },
  }
}

const Value = z.object({ stringValue: z.string().optional(), intValue: z.number().optional() }).loose()
const CollectedSpan = z.object({
  traceId: z.string(),
  spanId: z.string(),
  parentSpanId: z.string().optional(),
  name: z.string(),
  startTimeUnixNano: z.string().transform(BigInt),
  endTimeUnixNano: z.string().transform(BigInt),
  attributes: z
    .array(z.object({ key: z.string(), value: Value }))
    .transform((list) => Object.fromEntries(list.map(({ key, value }) => [key, Object.values(value)[0]]))),
  status: z.object({ code: z.number().optional(), message: z.string().optional() }),
})
const Export = z.object({
  resourceSpans: z.array(z.looseObject({ scopeSpans: z.array(z.looseObject({ spans: z.array(CollectedSpan) })) })),
})

/** An OpenTelemetry collector that keeps what it gets. `env` points a program at it. */
export async function startCollector() {
  const bodies: string[] = []
  const server = createServer(async (request, response) => {
    bodies.push(`${Buffer.concat(await request.toArray())}`)
    response.writeHead(200, { 'content-type': 'application/json' }).end('{}')
  })
  await once(server.listen(0, '127.0.0.1'), 'listening')
  onFinished(() => {
    server.closeAllConnections()
    server.close()
  })
  const address = server.address()
  const port = typeof address === 'object' ? address?.port : undefined
  const spans = () =>
    bodies.flatMap((body) =>
      Export.parse(JSON.parse(body)).resourceSpans.flatMap(({ scopeSpans }) =>
        scopeSpans.flatMap(({ spans }) => spans),
      ),
    )
  return {
    env: { OTEL_EXPORTER_OTLP_ENDPOINT: `http://127.0.0.1:${port}`, OTEL_BSP_SCHEDULE_DELAY: '100' },
    /** All that came, as it came. */
    text: () => bodies.join('\n'),
    spans,
    /** The spans of a trace, in the order of their beginnings, once these are among them. */
    findTrace: (traceId: string, ...names: string[]) =>
      until(() => {
        const found = spans().filter((span) => span.traceId === traceId)
        if (!names.every((name) => found.some((span) => span.name === name))) return undefined
        return found.sort((a, b) => Number(a.startTimeUnixNano - b.startTimeUnixNano))
      }),
  }
}

/** Waits until `read` returns something. Throws with its source after two minutes, which is a hang. */
export function until<T>(read: () => T | undefined | false | Promise<T | undefined | false>): Promise<T> {
  const ask = async () => {
    const answer = await read()
    if (answer === undefined || answer === false) throw new Error(`waited in vain for ${read}`)
    return answer
  }
  return vi.waitFor(ask, { timeout: hangMs, interval: 50 })
}

export function isAlive(pid: number): boolean {
  try {
    return process.kill(pid, 0)
  } catch {
    return false
  }
}
