import { type FormEvent, useState } from 'react'
import { type Feedback as Rating, toErrorMessage } from './api.ts'
import { IconButton } from './icon.tsx'

type Props = {
  stored: Rating | undefined
  onRate: (rating: { value: 1 | -1 | 0; comment?: string }) => Promise<unknown>
}

/** Rates an answer. A second click removes the rating. A comment is optional. */
export function Feedback({ stored, onRate }: Props) {
  const [value, setValue] = useState<1 | -1 | 0>(stored?.value ?? 0)
  const [isCommenting, setCommenting] = useState(false)
  const [message, setMessage] = useState('')
  const send = async (rating: { value: 1 | -1 | 0; comment?: string }, done = '') => {
    try {
      await onRate(rating)
      setValue(rating.value)
      setCommenting(rating.value !== 0 && rating.comment === undefined)
      setMessage(done)
    } catch (error) {
      setMessage(toErrorMessage(error))
    }
  }
  const toggle = (clicked: 1 | -1) => void send({ value: value === clicked ? 0 : clicked })
  const comment = (event: FormEvent<HTMLFormElement>) => {
    event.preventDefault()
    const text = new FormData(event.currentTarget).get('comment')
    void send({ value, comment: typeof text === 'string' ? text : '' }, 'Thank you.')
  }
  return (
    <>
      <IconButton icon="good" label="Good answer" isPressed={value === 1} onClick={() => toggle(1)} />
      <IconButton icon="bad" label="Bad answer" isPressed={value === -1} onClick={() => toggle(-1)} />
      <span role="status">{message}</span>
      {isCommenting && (
        <form className="comment" onSubmit={comment}>
          <input
            name="comment"
            aria-label="Comment on this answer"
            placeholder="Comment (optional)"
            defaultValue={stored?.comment}
            maxLength={2000}
          />
          <button type="submit" className="quiet">
            Send
          </button>
        </form>
      )}
    </>
  )
}
