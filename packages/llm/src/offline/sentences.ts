import { type Block, readBlocks } from './markdown.ts'

/** Something that can be quoted alone. `context` is what a reader knows before reading it: headings, a table's header. */
export type Unit = {
  kind: 'sentence' | 'item' | 'row' | 'code' | 'list'
  text: string
  context: string
  /** The question it answers, where the document asks one itself. */
  asked: string
  /** The unit that stands directly before it in the same paragraph. */
  previous: Unit | undefined
  /** A chunk's edge has cut it. */
  isPartial: boolean
}

type Outline = { headings: { level: number; text: string }[]; asked: string; leadIn: string; units: Unit[] }

const maxUnitLength = 400
const maxListLength = 600
const leaningStart =
  /^(?:the reason|der grund|grund dafür|la raison|la razón|it|its|they|this|that|these|those|he|she|er|sie|es|dies|diese[rs]?|il|elle|ils|elles|cela|esto|eso|它|他们|这|هو|هي)(?!\p{L})/iu
const abbreviation =
  /(?:^|[\s(])(?:\p{L}|e\.g|i\.e|Dr|Mrs?|Ms|Prof|St|No|Nr|Fig|Sec|Art|Abs|vs|ca|approx|Inc|Ltd|Co|pp?|cf|Tel|max|min|incl|inkl|Mme|Sra?|núm|ej|bzw|evtl|usw|d\. ?h|z\. ?B|u\. ?a)\.\s*$/u

/** Whether what it is about stands in the sentence before: `It was built in 1853.` */
export function leansBack({ text }: Unit): boolean {
  return leaningStart.test(text)
}

/** The quotable units of a passage, in its order. Never longer than a few hundred characters each. */
export function splitPassage(text: string): Unit[] {
  const outline: Outline = { headings: [], asked: '', leadIn: '', units: [] }
  const blocks = readBlocks(text)
  blocks.forEach((block, index) => {
    addBlock(outline, block)
    if (endsList(block, blocks[index + 1])) addList(outline, blocks, index)
  })
  markEdges(outline.units, blocks)
  // What still holds `[1]` (an array index in code) would be read as a citation of another passage.
  return outline.units.filter((unit) => !/\[\d+\]/.test(unit.text) && /[\p{L}\p{N}]/u.test(unit.text))
}

function addBlock(outline: Outline, block: Block): void {
  if (block.kind === 'heading') {
    const above = outline.headings.filter((heading) => heading.level < block.level)
    outline.headings = [...above, block]
    outline.asked = endsInQuestion(block.text) ? block.text : ''
    outline.leadIn = ''
  } else if (block.kind === 'prose') addProse(outline, block.text)
  else if (block.kind === 'code') addCode(outline, block.text)
  else {
    const texts = block.text.length <= maxUnitLength ? [block.text] : splitSentences(block.text)
    for (const text of texts) addUnit(outline, block.kind, text, block.kind === 'row' ? block.header : '')
  }
}

function addProse(outline: Outline, text: string): void {
  let previous: Unit | undefined
  outline.leadIn = ''
  for (const sentence of splitSentences(text.replace(/^[QA]:\s+/, ''))) {
    if (endsInQuestion(sentence)) outline.asked = sentence
    else previous = addUnit(outline, 'sentence', sentence, '', previous)
  }
  if (previous && /[:：]$/.test(previous.text)) {
    outline.leadIn = previous.text
    outline.units.pop()
  }
}

function endsInQuestion(text: string): boolean {
  return /[?？؟]$/.test(text)
}

function addCode(outline: Outline, code: string): void {
  const isShort = code.length <= maxListLength && code.split('\n').length <= 8
  const lines = isShort ? [code] : code.split('\n').filter((line) => line.trim() !== '')
  for (const line of lines.slice(0, 50)) {
    if (line.length > maxListLength) continue
    const quoted = line.includes('\n') || line.includes('`') ? `\n\`\`\`\n${line}\n\`\`\`` : `\`${line.trim()}\``
    const text = outline.leadIn === '' ? quoted : `${outline.leadIn} ${quoted}`
    addUnit(outline, 'code', text.trim(), '', outline.units.at(-1))
  }
}

function endsList(block: Block, next: Block | undefined): boolean {
  return block.kind === 'item' && next?.kind !== 'item'
}

/** A short list is one unit more, with the sentence that leads in to it: steps are read together. */
function addList(outline: Outline, blocks: Block[], last: number): void {
  const start = blocks.findLastIndex((block, index) => index < last && block.kind !== 'item') + 1
  const items = blocks.slice(start, last + 1).flatMap((block) => (block.kind === 'item' ? [block] : []))
  const lines = items.slice(0, 20).map((item) => `${item.marker} ${item.text}`)
  const text = [outline.leadIn, ...lines].filter((line) => line !== '').join('\n')
  if (items.length > 1 && items.length <= lines.length && text.length <= maxListLength) addUnit(outline, 'list', text)
  outline.leadIn = ''
}

function addUnit(outline: Outline, kind: Unit['kind'], text: string, header = '', previous?: Unit): Unit {
  const headings = outline.headings.map((heading) => heading.text)
  const context = [...headings, outline.leadIn, header].filter((part) => part !== '').join('\n')
  const unit: Unit = { kind, text, context, asked: outline.asked, previous, isPartial: false }
  outline.units.push(unit)
  return unit
}

/** A first sentence that starts small and a last one without an end were cut where the document was split. */
function markEdges(units: Unit[], blocks: Block[]): void {
  const first = units[0]
  const last = units.at(-1)
  if (blocks[0]?.kind === 'prose' && first?.kind === 'sentence' && /^[\p{Ll},;)]/u.test(first.text))
    first.isPartial = true
  const isAlone = units.length === 1
  if (
    !isAlone &&
    blocks.at(-1)?.kind === 'prose' &&
    last?.kind === 'sentence' &&
    !/[.!?:;。！？…؟"'”»)`]$/.test(last.text)
  )
    last.isPartial = true
}

const sentenceSegmenter = new Intl.Segmenter(undefined, { granularity: 'sentence' })

/** ICU's sentences, minus the breaks it finds after abbreviations; what has no full stop is cut between words. */
export function splitSentences(text: string): string[] {
  const sentences: string[] = []
  let open = ''
  for (const { segment } of sentenceSegmenter.segment(text)) {
    open += segment
    // Latin sentences end before a space; without one it is the middle of a URL.
    if (/[.?!]$/.test(open) || abbreviation.test(open.slice(-12))) continue
    sentences.push(open)
    open = ''
  }
  return [...sentences, open]
    .flatMap(cutLong)
    .map((sentence) => sentence.trim())
    .filter((sentence) => sentence !== '')
}

function cutLong(sentence: string): string[] {
  const pieces: string[] = []
  let rest = sentence
  while (rest.length > maxUnitLength) {
    const end = findCut(rest.slice(0, maxUnitLength))
    pieces.push(rest.slice(0, end).toWellFormed())
    rest = rest.slice(end)
  }
  return [...pieces, rest.toWellFormed()]
}

/** After the last semicolon, comma or space of the second half, in this order of liking. */
function findCut(head: string): number {
  const ends = ['; ', '；', ', ', '，', ' '].map((mark) => head.lastIndexOf(mark) + mark.length)
  return ends.find((end) => end > head.length / 2) ?? head.length
}
