import {
  type FocusEvent,
  type KeyboardEvent,
  type MouseEvent,
  type SubmitEvent,
  useEffect,
  useRef,
  useState,
} from 'react'

type Props = {
  id: string
  title: string
  isCurrent: boolean
  onOpen: (id: string) => void
  onRename: (title: string) => void
  onRemove: () => void
}

/** A conversation in the list, which can be opened, renamed and deleted. */
export function Conversation({ id, title, isCurrent, onOpen, onRename, onRemove }: Props) {
  const [isRenaming, setRenaming] = useState(false)
  const open = (event: MouseEvent) => {
    event.preventDefault()
    onOpen(id)
  }
  const rename = (entered: string) => {
    setRenaming(false)
    if (entered.trim() && entered.trim() !== title) onRename(entered.trim())
  }
  if (isRenaming)
    return (
      <li>
        <RenameForm title={title} onSave={rename} onCancel={() => setRenaming(false)} />
      </li>
    )
  return (
    <li data-current={isCurrent}>
      <a href={`#${id}`} dir="auto" aria-current={isCurrent ? 'page' : undefined} onClick={open}>
        {title}
      </a>
      <button
        type="button"
        className="remove"
        aria-label={`Rename the conversation ${title}`}
        onClick={() => setRenaming(true)}
      >
        ✎
      </button>
      <button type="button" className="remove" aria-label={`Delete the conversation ${title}`} onClick={onRemove}>
        ×
      </button>
    </li>
  )
}

/** Enter saves, Escape cancels, and so does leaving the field. */
function RenameForm(props: { title: string; onSave: (title: string) => void; onCancel: () => void }) {
  const { title, onSave, onCancel } = props
  const field = useRef<HTMLInputElement>(null)
  useEffect(() => field.current?.select(), [])
  const save = (event: SubmitEvent) => {
    event.preventDefault()
    onSave(field.current?.value ?? '')
  }
  const leave = ({ relatedTarget }: FocusEvent) => relatedTarget && onCancel()
  const press = ({ key }: KeyboardEvent) => key === 'Escape' && onCancel()
  return (
    <form className="rename" onSubmit={save}>
      <input
        ref={field}
        className="field"
        aria-label="Title of the conversation"
        dir="auto"
        defaultValue={title}
        maxLength={200}
        onBlur={leave}
        onKeyDown={press}
      />
    </form>
  )
}
