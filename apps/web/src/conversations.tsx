import { useEffect, useState } from 'react'
import { toErrorMessage, useApi } from './api.ts'
import { Conversation } from './conversation.tsx'

type Props = {
  current: string
  items: { id: string; title: string }[]
  hasMore: boolean
  error: string | undefined
  onOpen: (id?: string) => void
  onSearch: (query: string) => void
  onMore: () => void
  onChange: () => void
}

export function Conversations({ current, items, hasMore, error, onOpen, onSearch, onMore, onChange }: Props) {
  const api = useApi()
  const [problem, setProblem] = useState<string>()
  const [query, setQuery] = useState('')
  useEffect(() => {
    const timer = setTimeout(() => onSearch(query.trim()), 250) // ms; a pause in typing
    return () => clearTimeout(timer)
  }, [query, onSearch])
  const attempt = async (work: () => Promise<unknown>) => {
    try {
      await work()
      setProblem(undefined)
    } catch (failure) {
      setProblem(toErrorMessage(failure))
    }
    onChange()
  }
  const remove = async (id: string) => {
    await api.removeConversation(id)
    if (id === current) onOpen()
  }
  return (
    <nav aria-labelledby="conversations" className="list">
      <div className="list-head">
        <h2 id="conversations">Conversations</h2>
        <button type="button" className="quiet" onClick={() => onOpen()}>
          New
        </button>
      </div>
      <input
        type="search"
        className="field"
        aria-label="Search conversations"
        placeholder="Search"
        value={query}
        onChange={({ target }) => setQuery(target.value)}
      />
      {(problem ?? error) && <p role="alert">{problem ?? error}</p>}
      <ul>
        {items.map(({ id, title }) => (
          <Conversation
            key={id}
            id={id}
            title={title}
            isCurrent={id === current}
            onOpen={onOpen}
            onRename={(title) => void attempt(() => api.renameConversation(id, title))}
            onRemove={() => void attempt(() => remove(id))}
          />
        ))}
      </ul>
      {hasMore && (
        <button type="button" className="quiet" onClick={onMore}>
          Show more
        </button>
      )}
      {items.length === 0 && !error && (
        <p className="hint" role="status">
          {query.trim() ? 'No conversation contains these words.' : 'Your conversations appear here.'}
        </p>
      )}
    </nav>
  )
}
