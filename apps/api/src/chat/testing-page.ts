import { type UseChatHelpers, type UseChatOptions, useChat } from '@ai-sdk/react'
import { DefaultChatTransport, type UIMessage } from 'ai'
import { Window } from 'happy-dom'
import { createElement } from 'react'
import { expect, onTestFinished, vi } from 'vitest'

// The real hook in a real React page. happy-dom provides only the page. Requests are made by Node's `fetch`, which
// needs an absolute URL and has no cookies, so the transport needs only the address and the key.

const window = new Window()
const { document } = window
/** Also for each test file: what a file has replaced is restored after it, and this module is loaded once for all. */
function stubPage(): void {
  vi.stubGlobal('window', window)
  vi.stubGlobal('document', document)
}
stubPage()
const { createRoot } = await import('react-dom/client')

type Chat = UseChatHelpers<UIMessage>
type Options = UseChatOptions<UIMessage>
type Transport = DefaultChatTransport<UIMessage>
export type Page = ReturnType<typeof openPage>

/** Shows each message's text, and its sources as `[n title]`. */
function PageContent({
  chat,
  transport,
  onChat,
}: {
  chat: Options
  transport: Transport
  onChat: (chat: Chat) => void
}) {
  const helpers = useChat({ ...chat, transport })
  onChat(helpers)
  return helpers.messages.map(({ id, role, parts }) => {
    const shown = parts.map((part) => {
      if (part.type === 'source-document') return `[${part.sourceId} ${part.title}]`
      return part.type === 'text' ? part.text : ''
    })
    return createElement('p', { key: id }, `${role}: ${shown.join('')}`)
  })
}

/** Returns a function that opens a page with `useChat`, and closes it after the test. */
export function createPages(api: string, headers: Record<string, string>) {
  stubPage()
  const transport: Transport = new DefaultChatTransport({ api, headers })
  return (chat: Options = {}) => openPage(chat, transport)
}

function openPage(chat: Options, transport: Transport) {
  const element = document.createElement('main')
  const state: { chat?: Chat } = {}
  const root = createRoot(element)
  const onChat = (chat: Chat) => {
    state.chat = chat
  }
  root.render(createElement(PageContent, { chat, transport, onChat }))
  onTestFinished(() => root.unmount())
  const readChat = () => {
    if (!state.chat) throw new Error('the page is not there yet')
    return state.chat
  }
  return {
    ready: async () => {
      await expect.poll(() => state.chat).toBeDefined()
      return readChat()
    },
    chat: readChat,
    lines: () => Array.from(element.children, ({ textContent }) => textContent),
    close: () => root.unmount(),
    /** Waits until nothing is streaming. */
    settled: (status = 'ready') => expect.poll(() => readChat().status, { timeout: 10_000 }).toBe(status),
  }
}
