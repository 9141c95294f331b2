import type { IncomingMessage, ServerResponse } from 'node:http'
import { type Source, toStorableText } from '@repo/db'
import { buildPrompt } from '@repo/rag'
import type { Sql } from 'postgres'
import { type CompletionEnd, createDeltaScanner } from './raw-deltas.ts'
import type { ModelClient } from './raw-model.ts'
import { finishAnswer, openTurn, type Queryable, type Turn } from './raw-queries.ts'
import type { prepareVectorSearch } from './raw-search.ts'
import { type EventStream, openEventStream } from './raw-stream.ts'
import { toBytes, toText } from './raw-text.ts'
import { toSource, toSourcePart } from './sources.ts'

export type ChatOptions = {
  sql: Sql
  owner: string
  model: ModelClient
  search: ReturnType<typeof prepareVectorSearch>
  /** Runs `work` with the pool, or with a connection held until it ends. */
  withConnection: <T>(sql: Sql, work: (sql: Queryable) => Promise<T>) => Promise<T>
}

/** Returns a function that runs one chat: three statements and two calls to the model server. */
export function createChat({ sql, owner, model, search, withConnection }: ChatOptions) {
  const stream = async (connection: Queryable, response: ServerResponse, turn: Turn): Promise<EventStream> => {
    const [history, embedding] = await Promise.all([openTurn(connection, owner, turn), model.embed(turn.question)])
    const found = await search(connection, owner, embedding)
    const passages = found.map(({ heading: title, text }, index) => ({ n: index + 1, title, text }))
    const completion = await model.complete(buildPrompt({ passages, history, question: turn.question }))
    const events = openEventStream(response, completion)
    const sources = found.map(toSource)
    events.send(describeStart(turn, sources))
    const end = await relayText(completion, events)
    await finishAnswer(connection, owner, turn, { ...end, status: 'complete', sources })
    return events
  }

  return async (response: ServerResponse, turn: Turn): Promise<void> => {
    try {
      const events = await withConnection(sql, (connection) => stream(connection, response, turn))
      events.end('data: {"type":"text-end","id":"0"}\n\ndata: {"type":"finish"}\n\ndata: [DONE]\n\n')
    } catch (error) {
      const nothing = { content: '', sources: [], finishReason: null, inputTokens: null, outputTokens: null }
      await finishAnswer(sql, owner, turn, { ...nothing, status: 'failed' }).catch(() => {})
      throw error
    }
  }
}

/** Copies each piece of text into an event, and returns the text, decoded once at the end. */
function relayText(completion: IncomingMessage, events: EventStream): Promise<CompletionEnd & { content: string }> {
  const { promise, resolve, reject } = Promise.withResolvers<CompletionEnd & { content: string }>()
  const end: CompletionEnd = { finishReason: null, inputTokens: null, outputTokens: null }
  let text = ''
  const scan = createDeltaScanner(end, (escaped) => {
    text += escaped
    events.send(`data: {"type":"text-delta","id":"0","delta":"${escaped}"}\n\n`)
  })
  completion
    .on('data', (bytes: Buffer) => {
      try {
        scan(bytes.toString('latin1'))
      } catch (error) {
        reject(error)
        completion.destroy()
      }
    })
    .on('end', () => {
      if (!end.finishReason) return reject(new Error('The answer ended early.'))
      resolve({ ...end, content: toStorableText(JSON.parse(`"${toText(text)}"`)) })
    })
    .on('error', reject)
  return promise
}

function describeStart({ answerId, conversationId }: Turn, sources: Source[]): string {
  const parts = [
    { type: 'start', messageId: answerId },
    { type: 'data-conversation', data: { id: conversationId }, transient: true },
    ...sources.map(toSourcePart),
    { type: 'text-start', id: '0' },
  ]
  return toBytes(parts.map((part) => `data: ${JSON.stringify(part)}\n\n`).join(''))
}
