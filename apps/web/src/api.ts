import { EventSourceParserStream } from 'eventsource-parser/stream'
import { createContext, useContext } from 'react'
import { z } from 'zod'

const Problem = z.object({ status: z.number(), code: z.string(), detail: z.string() })

const Conversations = z.object({ items: z.array(z.object({ id: z.string(), title: z.string() })) })

const Source = z.object({
  n: z.number(),
  documentId: z.string(),
  title: z.string(),
  start: z.number(),
  end: z.number(),
  page: z.number().optional(),
})
export type Source = z.output<typeof Source>

const Conversation = z.object({
  title: z.string(),
  messages: z.array(
    z.object({
      id: z.string(),
      role: z.enum(['user', 'assistant']),
      content: z.string(),
      status: z.enum(['streaming', 'complete', 'stopped', 'interrupted', 'failed']),
      sources: z.array(Source),
    }),
  ),
})
export type StoredMessage = z.output<typeof Conversation>['messages'][number]

const Document = z.object({
  id: z.string(),
  title: z.string(),
  status: z.enum(['queued', 'processing', 'ready', 'failed']),
  error: z.string().nullable(),
})
export type Document = z.output<typeof Document>

const Documents = z.object({ items: z.array(Document) })
const DocumentText = z.object({ text: z.string(), start: z.number(), end: z.number(), length: z.number() })

const LiveSample = z.object({
  at: z.iso.datetime(),
  processes: z.number(),
  openStreams: z.number(),
  deltas: z.number(),
  eventLoopDelayMs: z.number(),
  poolerClients: z.number().nullable(),
  serversInUse: z.number().nullable(),
  serversIdle: z.number().nullable(),
})
export type LiveSample = z.output<typeof LiveSample>

/** An answer other than 2xx. `message` says what to do. */
export class ApiError extends Error {
  code: string

  constructor(code: string, message: string) {
    super(message)
    this.name = 'ApiError'
    this.code = code
  }
}

export type Api = ReturnType<typeof createApi>

/** The API of this page's own server. The key is here and in no storage; it is gone with the tab. */
export function createApi(key: string, onUnauthorized: () => void) {
  const headers: Record<string, string> = key ? { authorization: `Bearer ${key}` } : {}

  const request = async (path: string, init: RequestInit = {}): Promise<Response> => {
    const response = await fetch(path, { ...init, headers: { ...headers, ...Object(init.headers) } }).catch((error) => {
      if (init.signal?.aborted) throw error
      throw new ApiError('unreachable', 'The server cannot be reached. Is it running? Then try again.')
    })
    if (response.ok) return response
    if (response.status === 401) onUnauthorized()
    throw toApiError(await response.text())
  }
  const read = async <Shape extends z.ZodType>(shape: Shape, path: string, init?: RequestInit) =>
    shape.parse(await (await request(path, init)).json())

  return {
    /** For `DefaultChatTransport`, which throws the body of an answer other than 2xx. */
    fetch: request,
    stopAnswer: (id: string) => request(`/chat/${id}/stop`, { method: 'POST' }),
    listConversations: async () => (await read(Conversations, '/conversations?limit=50')).items,
    readConversation: (id: string) => read(Conversation, `/conversations/${id}`),
    removeConversation: (id: string) => request(`/conversations/${id}`, { method: 'DELETE' }),
    listDocuments: async () => (await read(Documents, '/documents?limit=50')).items,
    readText: (id: string, start: number, end: number) =>
      read(DocumentText, `/documents/${id}/text?start=${start}&end=${end}`),
    removeDocument: (id: string) => request(`/documents/${id}`, { method: 'DELETE' }),
    addDocument: (file: File) => addDocument(file, (init) => read(Document, '/documents', { method: 'POST', ...init })),
    watch: (signal: AbortSignal) => readSamples(() => request('/live', { headers: sse, signal })),
  }
}

const sse = { accept: 'text/event-stream' }

/** The file as it is: the server sniffs its type. */
function addDocument(file: File, post: (init: RequestInit) => Promise<Document>): Promise<Document> {
  const body = new FormData()
  body.append('title', file.name.replace(/\.\w+$/, ''))
  body.append('file', file)
  return post({ body })
}

async function* readSamples(open: () => Promise<Response>): AsyncGenerator<LiveSample> {
  const { body } = await open()
  const events = body?.pipeThrough(new TextDecoderStream()).pipeThrough(new EventSourceParserStream())
  for await (const { data } of events ?? []) yield LiveSample.parse(JSON.parse(data))
}

function toApiError(body: string): ApiError {
  const { data } = z
    .string()
    .transform((text, context) => {
      try {
        return JSON.parse(text)
      } catch {
        context.issues.push({ code: 'custom', message: 'no JSON', input: text })
        return z.NEVER
      }
    })
    .pipe(Problem)
    .safeParse(body)
  return data
    ? new ApiError(data.code, data.detail)
    : new ApiError('unknown', 'The server answered what this page does not understand. Reload the page.')
}

/** What to show a person of an error. */
export function explain(error: unknown): string {
  if (error instanceof ApiError) return error.message
  if (error instanceof TypeError) return 'The connection broke off. The answer goes on at the server: reload the page.'
  return error instanceof Error ? error.message : 'Something failed. Try again.'
}

const ApiContext = createContext<Api>(createApi('', () => {}))
export const ApiProvider = ApiContext.Provider
export const useApi = () => useContext(ApiContext)
