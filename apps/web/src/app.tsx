import { generateId } from 'ai'
import { useCallback, useEffect, useMemo, useState } from 'react'
import { type Api, ApiProvider, createApi } from './api.ts'
import { Chat } from './chat.tsx'
import { Conversations } from './conversations.tsx'
import { Documents } from './documents.tsx'
import { KeyForm } from './key-form.tsx'
import { Live } from './live.tsx'
import { useLoaded } from './use-loaded.ts'
import { useSettings } from './use-settings.ts'

/** The open conversation. A new one is not in the URL until its first question. */
type Current = { id: string; isNew: boolean }

const views = ['Chat', 'Library', 'Live'] as const
type View = (typeof views)[number]

function readCurrent(): Current {
  const [, id] = /^#([\w-]{1,64})$/.exec(location.hash) ?? []
  return id ? { id, isNew: false } : { id: generateId(), isNew: true }
}

/** Keeps the page above the keyboard of phones that do not resize the page for it (Safari). Returns how to stop. */
function fitAboveKeyboard() {
  const { visualViewport } = window
  const fit = () => {
    if (visualViewport?.scale === 1)
      // else the user has zoomed in
      document.documentElement.style.setProperty('--visible-height', `${visualViewport.height}px`)
  }
  visualViewport?.addEventListener('resize', fit)
  return () => visualViewport?.removeEventListener('resize', fit)
}

export function App() {
  const [key, setKey] = useState('')
  const [isLocked, setLocked] = useState(false)
  const api = useMemo(() => createApi(key, () => setLocked(true)), [key])
  const enter = (entered: string) => {
    setKey(entered)
    setLocked(false)
  }
  return (
    <ApiProvider value={api}>
      {isLocked ? <KeyForm isRejected={key !== ''} onEnter={enter} /> : <Page key={key} api={api} />}
    </ApiProvider>
  )
}

function Page({ api }: { api: Api }) {
  const [view, setView] = useState<View>('Chat')
  const [current, setCurrent] = useState(readCurrent)
  const [query, setQuery] = useState('')
  const [pages, setPages] = useState(1)
  const list = useLoaded(useCallback(() => api.listConversations(query, pages), [api, query, pages]))
  const settings = useSettings()
  useEffect(() => {
    const follow = () => setCurrent(readCurrent())
    addEventListener('hashchange', follow)
    return () => removeEventListener('hashchange', follow)
  }, [])
  useEffect(fitAboveKeyboard, [])
  const open = (id?: string) => {
    history.pushState(null, '', id ? `#${id}` : location.pathname)
    setCurrent(readCurrent())
    setView('Chat')
  }
  const { reload } = list
  const search = useCallback((words: string) => {
    setQuery(words)
    setPages(1)
  }, [])
  const begin = useCallback((id: string) => history.replaceState(null, '', `#${id}`), [])

  return (
    <div className="page" data-view={view}>
      <a className="skip" href="#question">
        Skip to the question
      </a>
      <header className="top">
        <h1>
          <Logo /> Sluice
        </h1>
        <nav className="tabs" aria-label="Views">
          {views.map((name) => (
            <button key={name} type="button" aria-pressed={view === name} onClick={() => setView(name)}>
              {name}
            </button>
          ))}
        </nav>
        <a href="docs">API</a>
      </header>
      <main>
        <div className="library">
          <Conversations
            current={current.id}
            items={list.value?.items ?? []}
            hasMore={Boolean(list.value?.next)}
            error={list.error}
            onOpen={open}
            onSearch={search}
            onMore={() => setPages(pages + 1)}
            onChange={reload}
          />
          <Documents {...settings} />
        </div>
        <section className="chat" aria-label="Conversation">
          <Chat
            key={current.id}
            id={current.id}
            isNew={current.isNew}
            settings={settings}
            onBegin={begin}
            onTurn={reload}
          />
        </section>
        <Live />
      </main>
    </div>
  )
}

function Logo() {
  return (
    <svg viewBox="0 0 32 32" aria-hidden="true" className="logo">
      <path d="M4 4c0 10 10 10 10 24M12 4c0 9 3 11 3 24M20 4c0 9-3 11-3 24M28 4c0 10-10 10-10 24" />
    </svg>
  )
}
