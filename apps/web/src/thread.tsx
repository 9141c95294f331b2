import { type ReactNode, useEffect, useRef } from 'react'
import { Scroller } from './scroller.tsx'

/** Scrolls with the answer while the user is at its end. */
export function Thread({ isRunning, turns, children }: { isRunning: boolean; turns: number; children: ReactNode }) {
  const box = useRef<HTMLDivElement>(null)
  const isAtEnd = useRef(true)
  useEffect(() => {
    isAtEnd.current = turns >= 0
  }, [turns])
  useEffect(() => {
    if (isAtEnd.current) box.current?.scrollTo({ top: box.current.scrollHeight })
  })
  const updateIsAtEnd = () => {
    if (!box.current) return
    const { scrollHeight, scrollTop, clientHeight } = box.current
    isAtEnd.current = scrollHeight - scrollTop - clientHeight < 60 // px, about two lines
  }
  return (
    <Scroller className="thread" ref={box} onScroll={updateIsAtEnd} aria-label="Messages" aria-busy={isRunning}>
      <div className="column">{children}</div>
    </Scroller>
  )
}

const questions = [
  'Why does this project use PgBouncer?',
  'What happens when a client disconnects?',
  'How do I add a route?',
]

/** What an empty conversation shows. */
export function Welcome({ onAsk }: { onAsk: (question: string) => void }) {
  return (
    <div className="welcome">
      <h2>Chat with your documents</h2>
      <p>Answers are streamed, and each claim cites the passage it comes from.</p>
      <ul>
        {questions.map((question) => (
          <li key={question}>
            <button type="button" onClick={() => onAsk(question)}>
              {question}
            </button>
          </li>
        ))}
      </ul>
    </div>
  )
}
