import { useCallback, useEffect, useRef, useState } from 'react'
import { type Source, useApi } from './api.ts'
import { Scroller } from './scroller.tsx'
import { useLoaded } from './use-loaded.ts'

const contextLength = 3000 // characters before and after a passage, about one or two screens
const stepLength = 20_000 // characters

/** A dialog that shows a document at a cited passage. */
export function Passage({ source, onClose }: { source: Source; onClose: () => void }) {
  const { documentId, title, page, start, end } = source
  const api = useApi()
  const dialog = useRef<HTMLDialogElement>(null)
  const mark = useRef<HTMLElement>(null)
  const [range, setRange] = useState({ from: Math.max(0, start - contextLength), to: end + contextLength })
  const load = useCallback(() => api.readText(documentId, range.from, range.to), [api, documentId, range])
  const { value, error } = useLoaded(load)
  const isShown = value !== undefined
  useEffect(() => dialog.current?.showModal(), [])
  useEffect(() => {
    if (isShown) mark.current?.scrollIntoView()
  }, [isShown])

  const cut = (from: number, to: number) =>
    value?.text.slice(Math.max(0, from - value.start), Math.max(0, to - value.start))
  return (
    <dialog className="passage" ref={dialog} onClose={onClose} aria-labelledby="passage-title">
      <header>
        <div>
          <h2 id="passage-title">{title}</h2>
          <p>
            {page !== undefined && `Page ${page}, `}characters {start} to {end}
            {value && ` of ${value.length}`}
          </p>
        </div>
        <button type="button" className="quiet" onClick={() => dialog.current?.close()}>
          Close
        </button>
      </header>
      <Scroller className="document" aria-label="Document text">
        {error && <p role="alert">{error}</p>}
        {value && value.start > 0 && (
          <button
            type="button"
            className="quiet"
            onClick={() => setRange({ ...range, from: Math.max(0, range.from - stepLength) })}
          >
            Earlier
          </button>
        )}
        {value && (
          <p className="text">
            {cut(value.start, start)}
            <mark ref={mark}>{cut(start, end)}</mark>
            {cut(end, value.end)}
          </p>
        )}
        {value && value.end < value.length && (
          <button type="button" className="quiet" onClick={() => setRange({ ...range, to: range.to + stepLength })}>
            Later
          </button>
        )}
      </Scroller>
    </dialog>
  )
}
