import { useChat } from '@ai-sdk/react'
import { DefaultChatTransport, type FileUIPart, lastAssistantMessageIsCompleteWithApprovalResponses } from 'ai'
import { useCallback, useEffect, useMemo, useRef, useState } from 'react'
import { type Api, ApiError, type ChatMessage, isDisconnected, type StoredMessage, useApi } from './api.ts'
import { type Settings, toFields, toModelField } from './use-settings.ts'

const reconnectMs = 2000 // a server that restarts is back within seconds

type Options = { id: string; isNew: boolean; stored: StoredMessage[]; settings: Settings; onTurn: () => void }

/** Returns the stored messages. An unknown id is a new conversation. */
export async function readMessages(api: Api, id: string): Promise<StoredMessage[]> {
  try {
    return (await api.readConversation(id)).messages
  } catch (error) {
    if (error instanceof ApiError && error.code === 'conversation_not_found') return []
    throw error
  }
}

/** Returns a conversation, and what the user can do in it. */
export function useConversation({ id, isNew, stored, settings, onTurn }: Options) {
  const api = useApi()
  const transport = useMemo(() => createTransport(api), [api])
  const chat = useChat<ChatMessage>({
    id,
    messages: stored,
    transport,
    resume: !isNew,
    throttle: 40, // ms; faster updates are not visible
    sendAutomaticallyWhen: lastAssistantMessageIsCompleteWithApprovalResponses,
  })
  const { sendMessage, regenerate, addToolApprovalResponse } = chat
  useUnmount(chat.stop)
  const [storedById, setStored] = useStored(api, id, stored, chat.status, onTurn)
  const shown = useRef(chat.messages)
  shown.current = chat.messages
  useRefresh(chat, async () => {
    const messages = await readMessages(api, id)
    if (shown.current !== chat.messages) return // the user has asked meanwhile
    chat.setMessages(messages)
    setStored(toMap(messages))
    chat.clearError()
    onTurn()
    await chat.resumeStream()
  })
  const latest = useRef(settings)
  latest.current = settings
  return {
    ...chat,
    isRunning: chat.status === 'submitted' || chat.status === 'streaming',
    stored: storedById,
    ask: (text: string, files: FileUIPart[]) => void sendMessage({ text, files }, { body: toFields(settings) }),
    stopAnswer: () => void api.stopAnswer(id).catch(() => chat.stop()),
    edit: useCallback(
      ({ id: messageId, parts }: ChatMessage, text: string) => {
        const files = parts.filter((part) => part.type === 'file')
        void sendMessage({ text, files, messageId }, { body: toFields(latest.current) })
      },
      [sendMessage],
    ),
    regenerate: useCallback(
      (messageId?: string) => void regenerate({ ...(messageId && { messageId }), body: toModelField(latest.current) }),
      [regenerate],
    ),
    respond: useCallback(
      (approvalId: string, approved: boolean) => void addToolApprovalResponse({ id: approvalId, approved }),
      [addToolApprovalResponse],
    ),
  }
}

/** Posts only the last message: the server knows the others, and images are large. */
function createTransport(api: Api) {
  return new DefaultChatTransport<ChatMessage>({
    api: 'chat',
    fetch: (path, init) => api.fetch(String(path), init),
    prepareSendMessagesRequest: ({ id, messages, trigger, messageId, body }) => ({
      body: { ...body, id, messages: messages.slice(-1), trigger, messageId },
    }),
  })
}

/** Returns the messages as they are stored, by id. Reads them again after each turn. */
function useStored(api: Api, id: string, first: StoredMessage[], status: string, onTurn: () => void) {
  const [stored, setStored] = useState(() => toMap(first))
  const began = useRef(false)
  useEffect(() => {
    const isRunning = status === 'submitted' || status === 'streaming' // a short answer may end before a render
    if (isRunning) began.current = true
    if (began.current && status !== 'submitted') onTurn()
    if (!began.current || isRunning) return
    began.current = false
    readMessages(api, id).then(
      (messages) => setStored(toMap(messages)),
      () => {},
    )
  }, [status, api, id, onTurn])
  return [stored, setStored] as const
}

/**
 * Calls `refresh` after the stream broke off until it succeeds, and when this tab is shown again, because the
 * conversation may have continued in another one.
 */
function useRefresh({ status, error }: { status: string; error: Error | undefined }, refresh: () => Promise<void>) {
  const latest = useRef(refresh)
  latest.current = refresh
  const isLost = status === 'error' && isDisconnected(error)
  const isIdle = status === 'ready'
  useEffect(() => {
    const update = () => void (document.hidden || latest.current().catch(() => {}))
    const timer = isLost ? setInterval(update, reconnectMs) : undefined
    if (isIdle) document.addEventListener('visibilitychange', update)
    return () => {
      clearInterval(timer)
      document.removeEventListener('visibilitychange', update)
    }
  }, [isLost, isIdle])
}

const toMap = (messages: StoredMessage[]) => new Map(messages.map((message) => [message.id, message]))

/** Disconnects from the stream when the user leaves. The answer continues on the server, and is resumed on return. */
function useUnmount(stop: () => unknown) {
  const latest = useRef(stop)
  latest.current = stop
  useEffect(() => () => void latest.current(), [])
}
