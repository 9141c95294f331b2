import { type Part, post, streamParts } from '@repo/testing/ui-stream'

const patienceMs = 600_000 // a longer request hangs: the slowest takes 30 s, after a crash

/** What a client has received of one answer. */
export type Reading = {
  text: string
  /** The response's status; undefined if there was no response. */
  status?: number
  /** The problem's code, if the response was a problem. */
  code?: string
  messageId?: string
  lastEventId?: string
  /** The answer's status, as reported at the end of the stream. */
  end?: string
  /**
   * Why there was no response or no end: the connection was lost, the client left, or it took longer than `patienceMs`.
   */
  failure?: string
}

export type Client = { headers: Record<string, string>; signal?: AbortSignal }

/** Asks a question and reads the answer to its end. Never rejects. `reading` grows as the answer does. */
export async function ask(
  url: string,
  client: Client,
  body: object,
  reading: Reading = { text: '' },
): Promise<Reading> {
  return read(post(`${url}/chat`, client.headers, body, withPatience(client)), reading)
}

/** Resumes reading an answer, possibly from another process. Never rejects. */
export async function resume(url: string, client: Client, conversationId: string, reading: Reading): Promise<Reading> {
  Object.assign(reading, { code: undefined, end: undefined, failure: undefined })
  const headers = { ...client.headers, ...(reading.lastEventId && { 'last-event-id': reading.lastEventId }) }
  return read(fetch(`${url}/chat/${conversationId}/stream`, { headers, signal: withPatience(client) }), reading)
}

/** Stops a conversation's running answer. Never rejects. */
export async function stop(url: string, client: Client, conversationId: string): Promise<Reading> {
  return send(`${url}/chat/${conversationId}/stop`, client)
}

/** Sends a request that is answered at once. Never rejects. */
export async function send(url: string, client: Client, body?: object, method = 'POST'): Promise<Reading> {
  const init = { method, headers: client.headers, signal: withPatience(client) }
  const request = body ? post(url, client.headers, body, init.signal) : fetch(url, init)
  return read(request, { text: '' })
}

/** Sends a query that is answered at once. Never rejects. */
export async function get(url: string, client: Client): Promise<Reading> {
  const reading = await read(fetch(url, { headers: client.headers, signal: withPatience(client) }), { text: '' })
  return reading.status === 200 && !reading.failure ? { ...reading, end: 'complete' } : reading
}

function withPatience({ signal }: Client): AbortSignal {
  const timeout = AbortSignal.timeout(patienceMs)
  return signal ? AbortSignal.any([signal, timeout]) : timeout
}

async function read(request: Promise<Response>, reading: Reading): Promise<Reading> {
  try {
    const response = await request
    reading.status = response.status
    if (!response.ok) reading.code = (await response.text()).match(/"code":"(\w+)"/)?.[1]
    else for await (const part of streamParts(response)) note(reading, part)
  } catch (error) {
    reading.failure = describe(error)
  }
  return reading
}

function note(reading: Reading, part: Part): void {
  const { type, messageId, eventId, delta, reason } = part
  if (messageId) reading.messageId = messageId
  if (eventId) reading.lastEventId = eventId
  if (delta) reading.text += delta
  if (type === 'finish') reading.end = 'complete'
  if (type === 'error') reading.end = 'failed'
  if (type === 'abort') reading.end = String(reason)
}

function describe(error: unknown): string {
  if (!(error instanceof Error)) return String(error)
  const { cause } = error
  return cause instanceof Error ? `${error.message}: ${cause.message}` : `${error.name}: ${error.message}`
}
