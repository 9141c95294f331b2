import type { FileUIPart } from 'ai'
import { useCallback, useState } from 'react'
import { Answer } from './answer.tsx'
import { isDisconnected, type Source, type StoredMessage, toErrorMessage, useApi } from './api.ts'
import { Composer } from './composer.tsx'
import { Feedback } from './feedback.tsx'
import { Passage } from './passage.tsx'
import { Question } from './question.tsx'
import { Thread, Welcome } from './thread.tsx'
import { readMessages, useConversation } from './use-conversation.ts'
import { useLoaded } from './use-loaded.ts'
import type { Settings } from './use-settings.ts'

type Props = {
  id: string
  isNew: boolean
  settings: Settings
  onBegin: (id: string) => void
  onTurn: () => void
}

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

function OpenChat(props: Props & { stored: StoredMessage[] }) {
  const { id, settings, onBegin } = props
  const api = useApi()
  const [passage, setPassage] = useState<Source>()
  const chat = useConversation(props)
  const { messages, isRunning, error } = chat
  const last = messages.at(-1)
  const ask = (text: string, images: FileUIPart[] = []) => {
    onBegin(id)
    chat.ask(text, images)
  }
  return (
    <>
      <Thread isRunning={isRunning} turns={messages.length}>
        {messages.length === 0 && <Welcome onAsk={ask} />}
        {messages.map((message) => {
          const { id: messageId, role } = message
          if (role === 'user')
            return <Question key={messageId} message={message} isDisabled={isRunning} onEdit={chat.edit} />
          const stored = chat.stored.get(messageId)
          const isLast = isRunning && message === last
          return (
            <Answer
              key={messageId}
              message={message}
              isRunning={isLast}
              isIdle={!isRunning}
              stored={isLast ? undefined : stored}
              onOpen={setPassage}
              onRegenerate={chat.regenerate}
              onRespond={chat.respond}
            >
              <Feedback stored={stored?.feedback} onRate={(rating) => api.rateAnswer(id, messageId, rating)} />
            </Answer>
          )
        })}
        {chat.status === 'submitted' && last?.role === 'user' && <p className="waiting">Waiting for the answer…</p>}
        {error && !isRunning && (
          <p role="alert">
            {toErrorMessage(error)}{' '}
            {last && !isDisconnected(error) && (
              <button type="button" className="quiet" onClick={() => chat.regenerate()}>
                Try again
              </button>
            )}
          </p>
        )}
      </Thread>
      <p className="visually-hidden" role="status">
        {isRunning ? 'Generating the answer.' : last?.role === 'assistant' ? 'The answer is complete.' : ''}
      </p>
      <Composer isRunning={isRunning} settings={settings} onAsk={ask} onStop={chat.stopAnswer} />
      {passage && <Passage source={passage} onClose={() => setPassage(undefined)} />}
    </>
  )
}
