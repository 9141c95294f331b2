import { useChat } from '@ai-sdk/react'
import { DefaultChatTransport, type UIMessage } from 'ai'
import { useCallback, useEffect, useMemo, useRef, useState } from 'react'
import { ApiError, type Source, type StoredMessage, toErrorMessage, useApi } from './api.ts'
import { Composer } from './composer.tsx'
import { Message } from './message.tsx'
import { Passage } from './passage.tsx'
import { Scroller } from './scroller.tsx'
import { useLoaded } from './use-loaded.ts'

type Props = { id: string; isNew: boolean; onBegin: (id: string) => void; onTurn: () => void }

/** A conversation: its stored messages, and new ones. */
export function Chat(props: Props) {
  const { id, isNew } = props
  const api = useApi()
  const { value, error } = useLoaded(
    useCallback(() => (isNew ? Promise.resolve([]) : readMessages(api, id)), [api, id, isNew]),
  )
  if (error) return <p role="alert">{error}</p>
  return value && <OpenChat {...props} stored={value} />
}

/** Returns the stored messages. An unknown id is a new conversation. */
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
  const chat = useChat({ id, messages, transport, resume: !isNew, throttle: 40 }) // ms; faster updates are not visible
  const isRunning = chat.status === 'submitted' || chat.status === 'streaming'
  useUnmount(chat.stop)

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
        {chat.status === 'submitted' && last?.role === 'user' && <p className="waiting">Searching your documents…</p>}
        {chat.error && !isRunning && (
          <p role="alert">
            {toErrorMessage(chat.error)}{' '}
            {last && (
              <button type="button" className="quiet" onClick={() => void chat.regenerate()}>
                Try again
              </button>
            )}
          </p>
        )}
      </Thread>
      <p className="visually-hidden" role="status">
        {isRunning ? 'Generating the answer.' : last?.role === 'assistant' ? 'The answer is complete.' : ''}
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

/** Disconnects from the stream when the user leaves. The answer continues on the server, and is resumed on return. */
function useUnmount(stop: () => unknown) {
  const latest = useRef(stop)
  latest.current = stop
  useEffect(() => () => void latest.current(), [])
}

/** Scrolls with the answer while the user is at its end. */
function Thread({ isRunning, turns, children }: { isRunning: boolean; turns: number; children: React.ReactNode }) {
  const box = useRef<HTMLDivElement>(null)
  const isAtEnd = useRef(true)
  useEffect(() => {
    isAtEnd.current = turns >= 0
  }, [turns])
  useEffect(() => {
    if (isAtEnd.current) box.current?.scrollTo({ top: box.current.scrollHeight })
  })
  const updateIsAtEnd = () => {
    if (!box.current) return
    const { scrollHeight, scrollTop, clientHeight } = box.current
    isAtEnd.current = scrollHeight - scrollTop - clientHeight < 60 // px, about two lines
  }
  return (
    <Scroller className="thread" ref={box} onScroll={updateIsAtEnd} aria-label="Messages" aria-busy={isRunning}>
      <div className="column">{children}</div>
    </Scroller>
  )
}

const questions = [
  'Why does this project use PgBouncer?',
  'What happens when a client disconnects?',
  'How do I add a route?',
]

function Welcome({ onAsk }: { onAsk: (question: string) => void }) {
  return (
    <div className="welcome">
      <h2>Chat with your documents</h2>
      <p>Answers are streamed, and each claim cites the passage it comes from.</p>
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
  const found = sources.map(({ n, title, ...location }) => ({
    type: 'source-document' as const,
    sourceId: String(n),
    mediaType: 'text/plain',
    title,
    providerMetadata: { sluice: location },
  }))
  return { id, role, parts: [...found, { type: 'text', text: content }] }
}
