import type { UIMessage } from 'ai'
import { EventSourceParserStream } from 'eventsource-parser/stream'
import { createContext, useContext } from 'react'
import { z } from 'zod'

const Problem = z.object({ status: z.number(), code: z.string(), detail: z.string() })

const Conversations = z.object({
  items: z.array(z.object({ id: z.string(), title: z.string() })),
  next: z.string().nullable(),
})

/** A passage that was given to an answer, cited as `[n]`. */
export type Source = {
  n: number
  documentId: string
  title: string
  start: number
  end: number
  page?: number | undefined
}

const Model = z.object({ id: z.string(), default: z.boolean(), capabilities: z.object({ images: z.boolean() }) })
export type Model = z.output<typeof Model>
const Models = z.object({ items: z.array(Model) })

const Feedback = z.object({ value: z.literal([1, -1]), comment: z.string().optional() })
export type Feedback = z.output<typeof Feedback>

const Metadata = z.object({ finishReason: z.string() })
export type ChatMessage = UIMessage<z.output<typeof Metadata>>

/** The server sends parts as the AI SDK defines them. */
const Part = z.custom<ChatMessage['parts'][number]>((part) => z.object({ type: z.string() }).safeParse(part).success)

const Conversation = z.object({
  messages: z.array(
    z.object({
      id: z.string(),
      role: z.enum(['user', 'assistant']),
      parts: z.array(Part),
      status: z.enum(['streaming', 'complete', 'stopped', 'interrupted', 'failed']),
      metadata: Metadata.optional(),
      feedback: Feedback.optional(),
    }),
  ),
})
export type StoredMessage = z.output<typeof Conversation>['messages'][number]

const Document = z.object({
  id: z.string(),
  title: z.string(),
  status: z.enum(['queued', 'processing', 'ready', 'failed']),
  error: z.string().nullable(),
  warnings: z.array(z.string()),
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

/** An error response. `message` is shown to the user. */
export class ApiError extends Error {
  code: string

  constructor(code: string, message: string) {
    super(message)
    this.name = 'ApiError'
    this.code = code
  }
}

export type Api = ReturnType<typeof createApi>

/**
 * Creates the client of this page's server, whose paths are relative to the page. It keeps the key in memory only, so the
 * key is lost with the tab.
 */
export function createApi(key: string, onUnauthorized: () => void) {
  const headers: Record<string, string> = key ? { authorization: `Bearer ${key}` } : {}

  const request = async (path: string, init: RequestInit = {}): Promise<Response> => {
    const response = await fetch(path, { ...init, headers: { ...headers, ...Object(init.headers) } }).catch((error) => {
      if (init.signal?.aborted) throw error
      throw new ApiError('unreachable', 'The server is unreachable. Check that it is running, then try again.')
    })
    if (response.ok) return response
    if (response.status === 401) onUnauthorized()
    throw toApiError(await response.text())
  }
  const read = async <Schema extends z.ZodType>(schema: Schema, path: string, init?: RequestInit) =>
    schema.parse(await (await request(path, init)).json())

  return {
    /** For `DefaultChatTransport`. Throws `ApiError` for error responses. */
    fetch: request,
    stopAnswer: (id: string) => request(`chat/${id}/stop`, { method: 'POST' }),
    listModels: async () => (await read(Models, 'models')).items,
    listConversations: async (query: string, pages: number) => {
      const list = await read(Conversations, `conversations?${new URLSearchParams({ limit: '50', q: query })}`)
      for (let page = 1; page < pages && list.next; page += 1) {
        const after = new URLSearchParams({ limit: '100', q: query, after: list.next })
        const { items, next } = await read(Conversations, `conversations?${after}`)
        list.items.push(...items)
        list.next = next
      }
      return list
    },
    readConversation: (id: string) => read(Conversation, `conversations/${id}`),
    renameConversation: (id: string, title: string) =>
      request(`conversations/${id}`, { ...json({ title }), method: 'PATCH' }),
    rateAnswer: (id: string, messageId: string, rating: { value: 1 | -1 | 0; comment?: string }) =>
      request(`conversations/${id}/messages/${messageId}/feedback`, { ...json(rating), method: 'PUT' }),
    removeConversation: (id: string) => request(`conversations/${id}`, { method: 'DELETE' }),
    listDocuments: async () => (await read(Documents, 'documents?limit=50')).items,
    readText: (id: string, start: number, end: number) =>
      read(DocumentText, `documents/${id}/text?start=${start}&end=${end}`),
    removeDocument: (id: string) => request(`documents/${id}`, { method: 'DELETE' }),
    addDocument: (file: File) => addDocument(file, (init) => read(Document, 'documents', { method: 'POST', ...init })),
    watch: (signal: AbortSignal) => readSamples(() => request('live', { headers: sse, signal })),
  }
}

const json = (body: object) => ({ headers: { 'content-type': 'application/json' }, body: JSON.stringify(body) })
const sse = { accept: 'text/event-stream' }

/** Uploads a file without its type, which the server detects. */
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
        context.issues.push({ code: 'custom', message: 'invalid JSON', input: text })
        return z.NEVER
      }
    })
    .pipe(Problem)
    .safeParse(body)
  return data
    ? new ApiError(data.code, data.detail)
    : new ApiError('unknown', 'The server sent an invalid response. Reload the page.')
}

/** Whether an answer's stream broke off. */
export const isDisconnected = (error: unknown) => error instanceof TypeError

/** Returns the message of an error to show to the user. */
export function toErrorMessage(error: unknown): string {
  if (error instanceof ApiError) return error.message
  if (isDisconnected(error)) return 'The connection was lost. The answer continues on the server and will appear here.'
  return error instanceof Error ? error.message : 'An unexpected error occurred. Try again.'
}

const ApiContext = createContext<Api>(createApi('', () => {}))
export const ApiProvider = ApiContext.Provider
export const useApi = () => useContext(ApiContext)
