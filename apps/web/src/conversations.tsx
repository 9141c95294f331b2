import { useState } from 'react'
import { toErrorMessage, useApi } from './api.ts'

type Props = {
  current: string
  items: { id: string; title: string }[]
  error: string | undefined
  onOpen: (id?: string) => void
  onChange: () => void
}

export function Conversations({ current, items, error, onOpen, onChange }: Props) {
  const api = useApi()
  const [problem, setProblem] = useState<string>()
  const remove = async (id: string) => {
    try {
      await api.removeConversation(id)
      if (id === current) onOpen()
      onChange()
    } catch (failure) {
      setProblem(toErrorMessage(failure))
    }
  }
  return (
    <nav aria-labelledby="conversations" className="list">
      <div className="list-head">
        <h2 id="conversations">Conversations</h2>
        <button type="button" className="quiet" onClick={() => onOpen()}>
          New
        </button>
      </div>
      {(problem ?? error) && <p role="alert">{problem ?? error}</p>}
      <ul>
        {items.map(({ id, title }) => (
          <li key={id} data-current={id === current}>
            <a
              href={`#${id}`}
              aria-current={id === current ? 'page' : undefined}
              onClick={(event) => {
                event.preventDefault()
                onOpen(id)
              }}
            >
              {title}
            </a>
            <button
              type="button"
              className="remove"
              aria-label={`Delete the conversation ${title}`}
              onClick={() => void remove(id)}
            >
              ×
            </button>
          </li>
        ))}
      </ul>
      {items.length === 0 && !error && <p className="hint">Your conversations appear here.</p>}
    </nav>
  )
}
