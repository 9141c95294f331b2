import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { createServer, type IncomingHttpHeaders, type ServerResponse } from 'node:http'
import { join } from 'node:path'
import { afterAll, expect, onTestFailed, onTestFinished, vi } from 'vitest'
import { z } from 'zod'

const LogLine = z.looseObject({ msg: z.string(), pid: z.number(), level: z.number(), address: z.string().optional() })
const root = join(import.meta.dirname, '../../..')

type LogLine = z.output<typeof LogLine>

const hangMs = 120_000 // a program starts within 2 s

/**
 * Starts a program, given by its path in the repository, with exactly this environment, so that the developer's own
 * variables do not leak in. It is killed after the test, or after the file's tests if it is started outside a test.
 * `nodeOptions` come before the file.
 */
export function startProgram(
  file: string,
  env: Record<string, string>,
  args: string[] = [],
  nodeOptions: string[] = [],
) {
  const path = join(root, file)
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
    /** Waits for a log line that matches and returns it. */
    findLog: (matches: (line: LogLine) => boolean): Promise<LogLine> => until(() => logs().find(matches)),
    /** Resolves with the exit code when the process has exited and its output is closed; null if a signal killed it. */
    ended: closed.then(([code]: unknown[]) => code),
  }
}

const isInTest = () => expect.getState().currentTestName !== undefined
const onFinished = (cleanUp: () => unknown) =>
  (isInTest() ? onTestFinished : afterAll)(async () => void (await cleanUp()))

/** Runs a program until it exits. Returns its exit code and output. */
export async function runProgram(file: string, env: Record<string, string>, ...args: string[]) {
  const { ended, written } = startProgram(file, env, args)
  return { code: await ended, ...written }
}

/**
 * Starts the API on a free port and waits until it listens. It requires no keys unless `env` sets AUTH, and calls a model
 * for titles only if `env` sets CONVERSATION_TITLES.
 */
export async function startApi(env: Record<string, string>, nodeOptions: string[] = []) {
  const defaults = { PORT: '0', AUTH: 'off', CONVERSATION_TITLES: 'question' }
  const api = startProgram('apps/api/dist/server.js', { ...defaults, ...env }, [], nodeOptions)
  const { address: url = '' } = await api.findLog(({ msg }) => msg === 'listening')
  return { ...api, url }
}

/** Starts an OpenAI-compatible server whose answers are scripted by the test. `env` points the API to it. */
export async function startScriptedServer() {
  const waiting: { headers: IncomingHttpHeaders; response: ServerResponse }[] = []
  const server = createServer((request, response) => {
    request.resume()
    if (request.method === 'GET') return response.writeHead(404).end() // no list of models
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
  const head = { id: 'chatcmpl-spoken', model: 'spoken-2026-11' }
  const toEvent = (choice: object) => `data: ${JSON.stringify({ ...head, choices: [choice] })}\n\n`
  return {
    env: { OPENAI_BASE_URL: `http://127.0.0.1:${port}/v1`, CHAT_MODEL: 'spoken' },
    /** Waits for the next request and returns the answer to script. */
    takeAnswer: async () => {
      const { headers, response } = await until(() => waiting.shift())
      return {
        headers,
        say: (content: string) => void response.write(toEvent({ delta: { content } })),
        call: (name: string, input: object) => {
          const call = { index: 0, id: name, function: { name, arguments: JSON.stringify(input) } }
          response.write(toEvent({ delta: { tool_calls: [call] } }))
        },
        end: (usage?: object, finishReason = 'stop') => {
          if (usage) response.write(`data: ${JSON.stringify({ choices: [], usage })}\n\n`)
          response.end(`${toEvent({ delta: {}, finish_reason: finishReason })}data: [DONE]\n\n`)
        },
        /** Ends the stream with an error event, as model servers do. Its message may quote user data. */
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

/** Starts an OpenTelemetry collector that records what it receives. `env` points a program to it. */
export async function startCollector() {
  const bodies: string[] = []
  const callers: { url: string | undefined; authorization: string | undefined }[] = []
  const server = createServer(async (request, response) => {
    callers.push({ url: request.url, authorization: request.headers.authorization })
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
    /** Returns all request bodies, unparsed. */
    text: () => bodies.join('\n'),
    spans,
    /** Where spans were sent, and with which credentials. */
    callers,
    /** Waits until the trace contains the named spans and returns all its spans, ordered by start time. */
    findTrace: (traceId: string, ...names: string[]) =>
      until(() => {
        const found = spans().filter((span) => span.traceId === traceId)
        if (!names.every((name) => found.some((span) => span.name === name))) return undefined
        return found.sort((a, b) => Number(a.startTimeUnixNano - b.startTimeUnixNano))
      }),
  }
}

/** Calls `read` until it returns a value. Throws with its source after two minutes, which is a hang. */
export function until<T>(read: () => T | undefined | false | Promise<T | undefined | false>): Promise<T> {
  const attempt = async () => {
    const value = await read()
    if (value === undefined || value === false) throw new Error(`timed out waiting for: ${read}`)
    return value
  }
  return vi.waitFor(attempt, { timeout: hangMs, interval: 50 })
}

/** Returns whether a process with this ID is running. */
export function isAlive(pid: number): boolean {
  try {
    return process.kill(pid, 0)
  } catch {
    return false
  }
}
