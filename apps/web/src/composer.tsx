import { type FormEvent, type KeyboardEvent, useEffect, useRef, useState } from 'react'

/** The input for questions. Enter sends, Shift+Enter adds a line, Escape stops the answer. */
export function Composer({
  isRunning,
  onAsk,
  onStop,
}: {
  isRunning: boolean
  onAsk: (text: string) => void
  onStop: () => void
}) {
  const [text, setText] = useState('')
  const field = useRef<HTMLTextAreaElement>(null)
  useEffect(() => field.current?.focus({ preventScroll: true }), [])
  const ask = (event?: FormEvent) => {
    event?.preventDefault()
    if (isRunning || !text.trim()) return
    onAsk(text.trim())
    setText('')
    field.current?.focus()
  }
  const press = (event: KeyboardEvent) => {
    if (event.key === 'Escape' && isRunning) onStop()
    if (event.key !== 'Enter' || event.shiftKey || event.nativeEvent.isComposing) return
    event.preventDefault()
    ask()
  }
  return (
    <form className="composer" onSubmit={ask}>
      <label className="visually-hidden" htmlFor="question">
        Your question
      </label>
      <textarea
        id="question"
        ref={field}
        rows={1}
        value={text}
        placeholder="Ask a question"
        onChange={({ target }) => setText(target.value)}
        onKeyDown={press}
      />
      {isRunning ? (
        <button type="button" className="primary" onClick={onStop}>
          Stop
        </button>
      ) : (
        <button type="submit" className="primary" disabled={!text.trim()}>
          Ask
        </button>
      )}
    </form>
  )
}
