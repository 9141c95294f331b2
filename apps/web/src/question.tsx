import type { FileUIPart } from 'ai'
import { type KeyboardEvent, memo, type SubmitEvent, useEffect, useRef, useState } from 'react'
import type { ChatMessage } from './api.ts'
import { IconButton } from './icon.tsx'

type Props = {
  message: ChatMessage
  isDisabled: boolean
  onEdit: (message: ChatMessage, text: string) => void
}

/** A question of the user, which can be edited. */
export const Question = memo(function Question({ message, isDisabled, onEdit }: Props) {
  const [isEditing, setEditing] = useState(false)
  const button = useRef<HTMLButtonElement>(null)
  const wasEditing = useRef(false)
  useEffect(() => {
    if (wasEditing.current && !isEditing) button.current?.focus()
    wasEditing.current = isEditing
  }, [isEditing])
  const text = message.parts
    .map((part) => (part.type === 'text' ? part.text : ''))
    .join('\n')
    .trim()
  if (isEditing) {
    const save = (edited: string) => {
      setEditing(false)
      onEdit(message, edited)
    }
    return <EditForm text={text} isDisabled={isDisabled} onSave={save} onCancel={() => setEditing(false)} />
  }
  return (
    <article className="question" aria-label="You asked" dir="auto">
      {message.parts.map((part) => part.type === 'file' && <Image key={part.url} {...part} />)}
      {text}
      <IconButton icon="edit" label="Edit" ref={button} isDisabled={isDisabled} onClick={() => setEditing(true)} />
    </article>
  )
})

/** Shows an image that the user attached. One from elsewhere is not loaded: the page contacts only its own server. */
function Image({ url, filename = 'Image' }: FileUIPart) {
  if (url.startsWith('data:')) return <img src={url} alt={filename} />
  return (
    <a href={url} target="_blank" rel="noopener noreferrer">
      {filename}
    </a>
  )
}

type EditProps = { text: string; isDisabled: boolean; onSave: (text: string) => void; onCancel: () => void }

function EditForm({ text, isDisabled, onSave, onCancel }: EditProps) {
  const [edited, setEdited] = useState(text)
  const field = useRef<HTMLTextAreaElement>(null)
  useEffect(() => field.current?.focus(), [])
  const isReady = edited.trim() !== '' && !isDisabled
  const save = (event: SubmitEvent | KeyboardEvent) => {
    event.preventDefault()
    if (isReady) onSave(edited.trim())
  }
  const press = (event: KeyboardEvent) => {
    if (event.key === 'Escape') onCancel()
    if (event.key === 'Enter' && !event.shiftKey && !event.nativeEvent.isComposing) save(event)
  }
  return (
    <form className="question editing" onSubmit={save}>
      <textarea
        ref={field}
        aria-label="Edit your question"
        dir="auto"
        value={edited}
        onChange={({ target }) => setEdited(target.value)}
        onKeyDown={press}
      />
      <p className="hint">Later messages will be replaced.</p>
      <button type="button" className="quiet" onClick={onCancel}>
        Cancel
      </button>
      <button type="submit" className="primary" disabled={!isReady}>
        Ask again
      </button>
    </form>
  )
}
