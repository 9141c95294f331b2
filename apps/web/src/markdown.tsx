import MarkdownToJsx, { type MarkdownToJSX, RuleType } from 'markdown-to-jsx/react'
import { memo, type ReactNode } from 'react'
import type { Source } from './api.ts'
import { splitSections } from './sections.ts'

type Props = { text: string; sources: Map<number, Source>; isRunning: boolean; onOpen: (source: Source) => void }

/** Renders a model's Markdown: HTML is shown as text, images are omitted, and `[n]` opens the cited passage. */
export function Markdown(props: Props) {
  let end = 0
  return splitSections(props.text).map((text) => {
    const start = end
    end += text.length
    const isRunning = props.isRunning && end === props.text.length
    return <Section key={start} {...props} text={text} isRunning={isRunning} />
  })
}

const Section = memo(renderSection, (before, { text, sources, isRunning }) => {
  return before.text === text && before.isRunning === isRunning && before.sources.size === sources.size
})

function renderSection({ text, sources, isRunning, onOpen }: Props) {
  const options: MarkdownToJSX.Options = {
    disableParsingRawHTML: true,
    forceBlock: true,
    wrapper: Wrapper,
    optimizeForStreaming: isRunning,
    overrides: { a: Link, img: ImageText },
    renderRule: (next, node) => (node.type === RuleType.text ? cite(node.text, sources, onOpen) : next()),
  }
  return <MarkdownToJsx options={options}>{text}</MarkdownToJsx>
}

/** Has the direction of its text. */
function Wrapper({ children }: { children?: ReactNode }) {
  return (
    <div dir="auto" className="section">
      {children}
    </div>
  )
}

function cite(text: string, sources: Props['sources'], onOpen: Props['onOpen']): ReactNode {
  const pieces = text.split(/(\[\d+\])/)
  if (pieces.length === 1) return text
  return pieces.map((piece, index) => {
    const source = sources.get(Number(/^\[(\d+)\]$/.exec(piece)?.[1]))
    if (!source) return piece
    return (
      <button
        // biome-ignore lint/suspicious/noArrayIndexKey: pieces of a text have no id, and are only appended
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

/** Shows only the alternative text, because loading an image would send a request to a server chosen by the model. */
function ImageText({ alt }: { alt?: string }) {
  return <span>{alt}</span>
}
