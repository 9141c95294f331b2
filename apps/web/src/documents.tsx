import { type ChangeEvent, useCallback, useEffect, useState } from 'react'
import { type Document, toErrorMessage, useApi } from './api.ts'
import { useDrop } from './use-drop.ts'
import { useLoaded } from './use-loaded.ts'
import type { Settings } from './use-settings.ts'

const pollMs = 1000
const isPending = ({ status }: Document) => status === 'queued' || status === 'processing'
const statusLabels = { queued: 'queued', processing: 'processing', ready: 'ready', failed: 'failed' } as const

/** The documents. Those that are checked are the only ones that the next questions are answered from. */
export function Documents({ documentIds, chooseDocuments }: Settings) {
  const { documents, error, add, remove } = useDocuments()
  const isOver = useDrop((files) => void add(files))
  const choose = ({ currentTarget }: ChangeEvent<HTMLInputElement>) => {
    void add([...(currentTarget.files ?? [])])
    currentTarget.value = ''
  }
  const omit = (id: string) => chooseDocuments((ids) => ids.filter((other) => other !== id))
  const toggle = (id: string, isChosen: boolean) => (isChosen ? omit(id) : chooseDocuments((ids) => [...ids, id]))
  return (
    <section aria-labelledby="documents" className="list">
      <div className="list-head">
        <h2 id="documents">Documents</h2>
        <label className="quiet choose">
          Add
          <input
            type="file"
            multiple
            accept=".txt,.md,.csv,.html,.ipynb,.pdf,.docx"
            onChange={choose}
            aria-label="Add documents"
          />
        </label>
      </div>
      {error && <p role="alert">{error}</p>}
      <ul aria-live="polite">
        {documents.map(({ id, title, status, error: reason, warnings }) => (
          <li key={id}>
            <label>
              <input
                type="checkbox"
                aria-label={`Ask only ${title}`}
                checked={documentIds.includes(id)}
                disabled={status !== 'ready'}
                onChange={() => toggle(id, documentIds.includes(id))}
              />
              {title}
              <small data-status={status}>
                {status === 'failed' && reason ? `failed: ${reason}` : statusLabels[status]}
                {status === 'ready' && warnings.map((warning) => ` · ${warning}`)}
              </small>
            </label>
            <button
              type="button"
              className="remove"
              aria-label={`Delete the document ${title}`}
              onClick={() => {
                omit(id)
                void remove(id)
              }}
            >
              ×
            </button>
          </li>
        ))}
      </ul>
      <p className="hint">
        Check documents to ask only those. Drop files anywhere on this page. Supported: text, Markdown, CSV, HTML, PDF,
        Word and notebooks.
      </p>
      {isOver && <div className="drop">Drop to add to your documents</div>}
    </section>
  )
}

/** Returns the documents, and polls once per second while any of them is being processed. */
function useDocuments() {
  const api = useApi()
  const { value: documents = [], error, reload } = useLoaded(useCallback(() => api.listDocuments(), [api]))
  const [problem, setProblem] = useState<string>()
  const hasPending = documents.some(isPending)
  useEffect(() => {
    if (!hasPending) return
    const timer = setInterval(reload, pollMs)
    return () => clearInterval(timer)
  }, [hasPending, reload])

  const attempt = async (work: () => Promise<unknown>) => {
    try {
      await work()
      setProblem(undefined)
    } catch (failure) {
      setProblem(toErrorMessage(failure))
    }
    reload()
  }
  return {
    documents,
    error: problem ?? error,
    add: async (files: File[]) => {
      for (const file of files) await attempt(() => api.addDocument(file))
    },
    remove: (id: string) => attempt(() => api.removeDocument(id)),
  }
}
