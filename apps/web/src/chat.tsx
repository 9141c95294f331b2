import { useChat } from '@ai-sdk/react'
import { DefaultChatTransport, type UIMessage } from 'ai'
import { useCallback, useEffect, useMemo, useRef, useState } from 'react'
import { ApiError, explain, type Source, type StoredMessage, useApi } from './api.ts'
import { Composer } from './composer.tsx'
import { Message } from './message.tsx'
import { Passage } from './passage.tsx'
import { Scroller } from './scroller.tsx'
import { useLoaded } from './use-loaded.ts'

type Props = { id: string; isNew: boolean; onBegin: (id: string) => void; onTurn: () => void }

/** One conversation: what is stored of it, and then what comes. */
export function Chat(props: Props) {
  const { id, isNew } = props
  const api = useApi()
  const { value, error } = useLoaded(
    useCallback(() => (isNew ? Promise.resolve([]) : readMessages(api, id)), [api, id, isNew]),
  )
  if (error) return <p role="alert">{error}</p>
  return value && <OpenChat {...props} stored={value} />
}

/** An id that nobody has used yet is a conversation to begin. */
async function readMessages(api: ReturnType<typeof useApi>, id: string): Promise<StoredMessage[]> {
  try {
    return (await api.readConversation(id)).messages
  } catch (error) {
    if (error instanceof ApiError && error.code === 'conversation_not_found') return []
    throw error
  }
}

function OpenChat({ id, isNew, onBegin, onTurn, stored }: Props & { stored: StoredMessage[] }) {
  const api = useApi()
  const [endings, setEndings] = useState(() => readEndings(stored))
  const [passage, setPassage] = useState<Source>()
  const transport = useMemo(() => new DefaultChatTransport({ api: '/chat', fetch: toFetch(api) }), [api])
  const messages = useMemo(() => stored.map(toUiMessage), [stored])
  const chat = useChat({ id, messages, transport, resume: !isNew, throttle: 40 }) // ms; a screen shows no more
  const isRunning = chat.status === 'submitted' || chat.status === 'streaming'
  useLeave(chat.stop)

  const began = useRef(false)
  const { status } = chat
  useEffect(() => {
    if (status === 'streaming') began.current = true
    if (began.current) onTurn()
    if (!began.current || status === 'streaming') return
    began.current = false
    readMessages(api, id).then(
      (stored) => setEndings(readEndings(stored)),
      () => {},
    )
  }, [status, api, id, onTurn])

  const ask = (text: string) => {
    onBegin(id)
    void chat.sendMessage({ text })
  }
  const stop = () => void api.stopAnswer(id).catch(() => chat.stop())
  const last = chat.messages.at(-1)
  return (
    <>
      <Thread isRunning={isRunning} turns={chat.messages.length}>
        {chat.messages.length === 0 && <Welcome onAsk={ask} />}
        {chat.messages.map((message) => (
          <Message
            key={message.id}
            message={message}
            isRunning={isRunning && message === last}
            ending={isRunning && message === last ? undefined : endings[message.id]}
            onOpen={setPassage}
          />
        ))}
        {chat.status === 'submitted' && last?.role === 'user' && <p className="waiting">Reading your documents…</p>}
        {chat.error && !isRunning && (
          <p role="alert">
            {explain(chat.error)}{' '}
            {last && (
              <button type="button" className="quiet" onClick={() => void chat.regenerate()}>
                Try again
              </button>
            )}
          </p>
        )}
      </Thread>
      <p className="visually-hidden" role="status">
        {isRunning ? 'The answer is being written.' : last?.role === 'assistant' ? 'The answer is there.' : ''}
      </p>
      <Composer isRunning={isRunning} onAsk={ask} onStop={stop} />
      {passage && <Passage source={passage} onClose={() => setPassage(undefined)} />}
    </>
  )
}

const toFetch =
  (api: ReturnType<typeof useApi>): typeof fetch =>
  (path, init) =>
    api.fetch(String(path), init)

/** Whoever leaves a conversation reads no further: the answer goes on at the server, and is resumed on coming back. */
function useLeave(stop: () => unknown) {
  const latest = useRef(stop)
  latest.current = stop
  useEffect(() => () => void latest.current(), [])
}

/** Follows the end of an answer for as long as its reader is there. */
function Thread({ isRunning, turns, children }: { isRunning: boolean; turns: number; children: React.ReactNode }) {
  const box = useRef<HTMLDivElement>(null)
  const isAtEnd = useRef(true)
  useEffect(() => {
    isAtEnd.current = turns >= 0
  }, [turns])
  useEffect(() => {
    if (isAtEnd.current) box.current?.scrollTo({ top: box.current.scrollHeight })
  })
  const note = () => {
    if (!box.current) return
    const { scrollHeight, scrollTop, clientHeight } = box.current
    isAtEnd.current = scrollHeight - scrollTop - clientHeight < 60 // px, about two lines
  }
  return (
    <Scroller className="thread" ref={box} onScroll={note} aria-label="Messages" aria-busy={isRunning}>
      <div className="column">{children}</div>
    </Scroller>
  )
}

const questions = [
  'Why does this project use PgBouncer?',
  'What happens when a client leaves?',
  'How do I add a route?',
]

function Welcome({ onAsk }: { onAsk: (question: string) => void }) {
  return (
    <div className="welcome">
      <h2>Ask your documents.</h2>
      <p>Answers stream as they are made, and each claim names the passage it comes from.</p>
      <ul>
        {questions.map((question) => (
          <li key={question}>
            <button type="button" onClick={() => onAsk(question)}>
              {question}
            </button>
          </li>
        ))}
      </ul>
    </div>
  )
}

type Ending = StoredMessage['status']

function readEndings(stored: StoredMessage[]): Record<string, Ending> {
  return Object.fromEntries(stored.map(({ id, status }) => [id, status]))
}

function toUiMessage({ id, role, content, sources }: StoredMessage): UIMessage {
  const found = sources.map(({ n, title, ...place }) => ({
    type: 'source-document' as const,
    sourceId: String(n),
    mediaType: 'text/plain',
    title,
    providerMetadata: { sluice: place },
  }))
  return { id, role, parts: [...found, { type: 'text', text: content }] }
}
