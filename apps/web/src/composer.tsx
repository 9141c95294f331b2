import type { FileUIPart } from 'ai'
import { type ChangeEvent, type KeyboardEvent, type SubmitEvent, useEffect, useRef, useState } from 'react'
import { Icon } from './icon.tsx'
import { useImages } from './use-images.ts'
import type { Settings } from './use-settings.ts'

type Props = {
  isRunning: boolean
  settings: Settings
  onAsk: (text: string, images: FileUIPart[]) => void
  onStop: () => void
}

/** The input for questions. Enter sends, Shift+Enter adds a line, Escape stops the answer. */
export function Composer({ isRunning, settings, onAsk, onStop }: Props) {
  const [text, setText] = useState('')
  const { images, problem, add, remove, clear } = useImages()
  const field = useRef<HTMLTextAreaElement>(null)
  useEffect(() => field.current?.focus({ preventScroll: true }), [])
  const takesImages = settings.model?.capabilities.images ?? false
  const ask = (event?: SubmitEvent) => {
    event?.preventDefault()
    if (isRunning || !text.trim()) return
    onAsk(text.trim(), takesImages ? images : [])
    setText('')
    clear()
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
      {problem && <p role="alert">{problem}</p>}
      {takesImages && images.length > 0 && <Thumbnails images={images} onRemove={remove} />}
      <label className="visually-hidden" htmlFor="question">
        Your question
      </label>
      <textarea
        id="question"
        ref={field}
        rows={1}
        dir="auto"
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
      <div className="options">
        {takesImages && <ImageField onChoose={(files) => void add(files)} />}
        <ModelPicker {...settings} />
        <ChosenDocuments {...settings} />
      </div>
    </form>
  )
}

function Thumbnails({ images, onRemove }: { images: FileUIPart[]; onRemove: (image: FileUIPart) => void }) {
  return (
    <ul className="thumbnails" aria-label="Images">
      {images.map((image) => (
        <li key={image.url}>
          <img src={image.url} alt={image.filename} />
          <button type="button" aria-label={`Remove ${image.filename}`} onClick={() => onRemove(image)}>
            ×
          </button>
        </li>
      ))}
    </ul>
  )
}

function ImageField({ onChoose }: { onChoose: (files: File[]) => void }) {
  const choose = ({ currentTarget }: ChangeEvent<HTMLInputElement>) => {
    onChoose([...(currentTarget.files ?? [])])
    currentTarget.value = ''
  }
  return (
    <label className="choose icon-button" title="Add images">
      <Icon name="image" />
      <input type="file" multiple accept="image/*" onChange={choose} aria-label="Add images" />
    </label>
  )
}

function ModelPicker({ models, model, chooseModel }: Settings) {
  if (models.length < 2) return null
  return (
    <select aria-label="Model" value={model?.id} onChange={({ target }) => chooseModel(target.value)}>
      {models.map(({ id }) => (
        <option key={id}>{id}</option>
      ))}
    </select>
  )
}

function ChosenDocuments({ documentIds, chooseDocuments }: Settings) {
  const { length } = documentIds
  if (length === 0) return null
  return (
    <p>
      Only {length} {length === 1 ? 'document' : 'documents'}{' '}
      <button type="button" aria-label="Ask all documents" onClick={() => chooseDocuments(() => [])}>
        ×
      </button>
    </p>
  )
}
