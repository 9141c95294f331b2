import type { UIMessage } from 'ai'
import { memo } from 'react'
import { z } from 'zod'
import type { Source, StoredMessage } from './api.ts'
import { Markdown } from './markdown.tsx'

const Location = z.object({
  sluice: z.object({ documentId: z.string(), start: z.number(), end: z.number(), page: z.number().optional() }),
})

type Props = {
  message: UIMessage
  isRunning: boolean
  ending: StoredMessage['status'] | undefined
  onOpen: (source: Source) => void
}

const notes: Partial<Record<StoredMessage['status'], string>> = {
  stopped: 'Stopped.',
  interrupted: 'The server stopped during this answer. Ask again to get all of it.',
  failed: 'This answer failed. Ask again.',
  streaming: 'This answer is still being generated. Reload the page to see the rest.',
}

/** A message. Memoized, so that a streaming answer does not render the earlier ones again. */
export const Message = memo(function Message({ message, isRunning, ending, onOpen }: Props) {
  const text = message.parts.map((part) => (part.type === 'text' ? part.text : '')).join('')
  if (message.role === 'user') {
    return (
      <article className="question" aria-label="You asked">
        {text}
      </article>
    )
  }
  const sources = readSources(message)
  const cited = new Set([...text.matchAll(/\[(\d+)\]/g)].map(([, n]) => Number(n)))
  return (
    <article className="answer" aria-label="Answer" data-running={isRunning}>
      <Markdown text={text} sources={sources} isRunning={isRunning} onOpen={onOpen} />
      {ending && notes[ending] && <p className="note">{notes[ending]}</p>}
      <ul className="sources" aria-label="Sources">
        {[...sources.values()].flatMap((source) =>
          cited.has(source.n) ? (
            <li key={source.n}>
              <button type="button" onClick={() => onOpen(source)}>
                <span>{source.n}</span> {source.title}
                {source.page !== undefined && `, page ${source.page}`}
              </button>
            </li>
          ) : (
            []
          ),
        )}
      </ul>
    </article>
  )
})

function readSources({ parts }: UIMessage): Map<number, Source> {
  const sources = parts.flatMap((part) => {
    if (part.type !== 'source-document') return []
    const location = Location.safeParse(part.providerMetadata).data?.sluice
    return location ? { ...location, n: Number(part.sourceId), title: part.title } : []
  })
  return new Map(sources.map((source) => [source.n, source]))
}
