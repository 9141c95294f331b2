import MarkdownToJsx, { type MarkdownToJSX, RuleType } from 'markdown-to-jsx/react'
import type { ReactNode } from 'react'
import type { Source } from './api.ts'

type Props = { text: string; sources: Map<number, Source>; isRunning: boolean; onOpen: (source: Source) => void }

/** A model's Markdown: HTML in it stays text, pictures are left out, and `[n]` opens the passage that it names. */
export function Markdown({ text, sources, isRunning, onOpen }: Props) {
  const options: MarkdownToJSX.Options = {
    disableParsingRawHTML: true,
    forceBlock: true,
    optimizeForStreaming: isRunning,
    overrides: { a: Link, img: Picture },
    renderRule: (next, node) => (node.type === RuleType.text ? cite(node.text, sources, onOpen) : next()),
  }
  return <MarkdownToJsx options={options}>{text}</MarkdownToJsx>
}

function cite(text: string, sources: Props['sources'], onOpen: Props['onOpen']): ReactNode {
  const pieces = text.split(/(\[\d+\])/)
  if (pieces.length === 1) return text
  return pieces.map((piece, index) => {
    const source = sources.get(Number(/^\[(\d+)\]$/.exec(piece)?.[1]))
    if (!source) return piece
    return (
      <button
        // biome-ignore lint/suspicious/noArrayIndexKey: pieces of a text have no other name, and only grow at the end
        key={index}
        type="button"
        className="citation"
        aria-label={`Source ${source.n}: ${source.title}`}
        onClick={() => onOpen(source)}
      >
        {source.n}
      </button>
    )
  })
}

function Link({ href, children }: { href?: string; children?: ReactNode }) {
  return (
    <a href={href} target="_blank" rel="noopener noreferrer">
      {children}
    </a>
  )
}

/** It would be asked for at a server that the model names. */
function Picture({ alt }: { alt?: string }) {
  return <span>{alt}</span>
}
