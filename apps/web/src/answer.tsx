import { isToolUIPart } from 'ai'
import { memo, type ReactNode, useState } from 'react'
import { z } from 'zod'
import type { ChatMessage, Source, StoredMessage } from './api.ts'
import { IconButton } from './icon.tsx'
import { Markdown } from './markdown.tsx'
import { Reasoning, ToolStep } from './tool-step.tsx'

const Location = z.object({
  sluice: z.object({ documentId: z.string(), start: z.number(), end: z.number(), page: z.number().optional() }),
})

type Props = {
  message: ChatMessage
  isRunning: boolean
  /** Whether a message can be sent now. */
  isIdle: boolean
  /** As it is stored. Undefined while it runs. */
  stored: StoredMessage | undefined
  onOpen: (source: Source) => void
  onRegenerate: (messageId: string) => void
  onRespond: (approvalId: string, isApproved: boolean) => void
  /** Renders the rating of this answer. */
  children: ReactNode
}

const statusNotes: Partial<Record<StoredMessage['status'], string>> = {
  stopped: 'Stopped.',
  interrupted: 'The server stopped during this answer. Ask again to get all of it.',
  failed: 'This answer failed. Ask again.',
  streaming: 'This answer is still being generated. Reload the page to see the rest.',
}
const finishNotes = new Map([
  ['length', 'This answer is cut off: it reached the length limit.'],
  ['content-filter', 'The model refused this answer, or its content filter ended it.'],
])

/** An answer: its steps, its text, its sources and what can be done with it. */
export function Answer({ message, isRunning, isIdle, stored, onOpen, onRegenerate, onRespond, children }: Props) {
  const finishReason = isRunning ? undefined : message.metadata?.finishReason
  const note = (stored && statusNotes[stored.status]) ?? finishNotes.get(finishReason ?? '')
  return (
    <article className="answer" aria-label="Answer" data-running={isRunning}>
      <Parts
        message={message}
        isRunning={isRunning}
        isWaiting={finishReason === 'tool-calls'}
        onOpen={onOpen}
        onRespond={onRespond}
      />
      {note && <p className="note">{note}</p>}
      {!isRunning && (
        <footer className="actions">
          <CopyButton text={toText(message)} />
          <IconButton
            icon="regenerate"
            label="Regenerate"
            isDisabled={!isIdle}
            onClick={() => onRegenerate(message.id)}
          />
          {stored && children}
        </footer>
      )}
    </article>
  )
}

type PartsProps = Pick<Props, 'message' | 'isRunning' | 'onOpen' | 'onRespond'> & { isWaiting: boolean }

/** Memoized, so that a streaming answer does not render the earlier ones again. */
const Parts = memo(function Parts({ message, isRunning, isWaiting, onOpen, onRespond }: PartsProps) {
  const sources = readSources(message)
  const cited = new Set([...toText(message).matchAll(/\[(\d+)\]/g)].map(([, n]) => Number(n)))
  return (
    <>
      {message.parts.map((part, index) => {
        const key = `${index}` // parts are only appended
        if (part.type === 'text')
          return <Markdown key={key} text={part.text} sources={sources} isRunning={isRunning} onOpen={onOpen} />
        if (part.type === 'reasoning') return <Reasoning key={key} text={part.text} />
        if (!isToolUIPart(part)) return null
        return <ToolStep key={key} part={part} isRunning={isRunning} isWaiting={isWaiting} onRespond={onRespond} />
      })}
      <ul className="sources" aria-label="Sources">
        {[...sources.values()].map(
          (source) =>
            cited.has(source.n) && (
              <li key={source.n}>
                <button type="button" onClick={() => onOpen(source)}>
                  <span>{source.n}</span> {source.title}
                  {source.page !== undefined && `, page ${source.page}`}
                </button>
              </li>
            ),
        )}
      </ul>
    </>
  )
})

/** Browsers offer the clipboard only on HTTPS and on this machine. */
function CopyButton({ text }: { text: string }) {
  const [isCopied, setCopied] = useState(false)
  if (!navigator.clipboard || !text) return null
  const copy = async () => {
    await navigator.clipboard.writeText(text)
    setCopied(true)
    setTimeout(() => setCopied(false), 2000)
  }
  return (
    <IconButton icon={isCopied ? 'copied' : 'copy'} label={isCopied ? 'Copied' : 'Copy'} onClick={() => void copy()} />
  )
}

function toText({ parts }: ChatMessage): string {
  return parts
    .flatMap((part) => (part.type === 'text' ? part.text : []))
    .join('\n\n')
    .trim()
}

function readSources({ parts }: ChatMessage): Map<number, Source> {
  const sources = parts.flatMap((part) => {
    if (part.type !== 'source-document') return []
    const location = Location.safeParse(part.providerMetadata).data?.sluice
    return location ? { ...location, n: Number(part.sourceId), title: part.title } : []
  })
  return new Map(sources.map((source) => [source.n, source]))
}
