import type { Passage } from '@repo/llm'

/** A sentence, list item, table row or code block that an answer can quote. */
export type Quote = {
  n: number
  text: string
  /** What a reader of the document already knows here: title, headings, the sentence that introduces a list. */
  context: string
  /** The sentence before it in the same paragraph. */
  previous: string
}

type Reader = {
  passage: Passage
  headings: string[]
  leadIn: string
  lines: string[]
  isItem: boolean
  quotes: Quote[]
}

const maxPassageLength = 8000
const maxQuoteLength = 400
const maxCodeLength = 600
const shortLineLength = 45
const plainTitleLevel = 7 // below the headings of Markdown
const headingPattern = /^\s{0,3}(#{1,6})\s+(.{1,300}?)[\s#]*$/
const itemPattern = /^\s*(?:[-*+•]|\d{1,3}[.)])\s+(?=\S)|^\s*\|/
const rulePattern = /^[\s|:=*_-]+$/
const abbreviation = /(?:^|[\s(])(?:\p{L}|e\.g|i\.e|Dr|Mrs?|Ms|Prof|St|No|Nr|vs|ca|approx|z\. ?B)\.\s*$/u
const leaningStart =
  /^(?:it|its|they|this|that|these|those|he|she|er|sie|es|dies|diese[rs]?|il|elle|ils|elles)(?!\p{L})/iu
const sentenceSegmenter = new Intl.Segmenter(undefined, { granularity: 'sentence' })

/** Everything in a passage that can be quoted, in order. Reads the first 8,000 characters. */
export function readQuotes(passage: Passage): Quote[] {
  const reader: Reader = { passage, headings: [], leadIn: '', lines: [], isItem: false, quotes: [] }
  // Odd pieces are the insides of code fences.
  const pieces = passage.text
    .slice(0, maxPassageLength)
    .toWellFormed()
    .split(/^\s{0,3}(?:```|~~~).*$/m)
  for (const [index, piece] of pieces.entries()) {
    if (index % 2 === 1) addCode(reader, piece)
    else for (const line of [...piece.split(/\r\n|[\n\r\u2028\u2029]/), '']) readLine(reader, line)
  }
  // Code such as `items[1]` would be read as a citation.
  return reader.quotes.filter(({ text }) => !/\[\d+\]/.test(text) && /[\p{L}\p{N}]/u.test(text))
}

function readLine(reader: Reader, raw: string): void {
  const line = raw.replace(/^\s{0,3}(?:>\s?)+/, '')
  const [, marks, heading] = headingPattern.exec(line) ?? []
  if (marks && heading) {
    closeParagraph(reader)
    openSection(reader, marks.length, heading)
  } else if (rulePattern.test(line) || line === '') {
    closeParagraph(reader)
    if (line.includes('|')) reader.leadIn = reader.quotes.pop()?.text ?? '' // the header of a table
  } else if (itemPattern.test(line)) {
    closeParagraph(reader)
    reader.isItem = true
    reader.lines = [line.replace(itemPattern, '').replace(/\|\s*$/, '')]
  } else reader.lines.push(line.trim())
}

function openSection(reader: Reader, level: number, heading: string): void {
  reader.headings = [...reader.headings.slice(0, level - 1), collapseSpace(removeMarks(heading))]
  reader.leadIn = ''
}

function closeParagraph(reader: Reader): void {
  const { lines, isItem } = reader
  if (lines.length === 0) return
  reader.lines = []
  reader.isItem = false
  if (!isItem) reader.leadIn = ''
  const [first = ''] = lines
  if (!isItem && lines.length === 1 && isTitle(first)) {
    openSection(reader, plainTitleLevel, first)
    return
  }
  // A short line of plain text stands for itself, as in an address; a longer one is wrapped.
  const text = lines.map((line) => (line.length < shortLineLength ? `${line}\n` : line)).join(' ')
  let previous = ''
  for (const sentence of splitSentences(text)) {
    // A question or an introduction is not an answer: the reader takes it together with what follows.
    if (/[:：?？؟]$/.test(sentence)) reader.leadIn = sentence
    else addQuote(reader, leaningStart.test(sentence) ? `${previous} ${sentence}`.trim() : sentence, previous)
    previous = sentence
  }
}

function isTitle(line: string): boolean {
  return line.length <= 60 && !/[\d:.!?;,。！？；，؟،…`|]/.test(line)
}

function addCode(reader: Reader, piece: string): void {
  const code = piece.replace(/[^\P{Cc}\n\t]/gu, ' ').trim()
  if (code === '' || code.length > maxCodeLength) return
  const isInline = !/[\n`]/.test(code)
  addQuote(reader, `${reader.leadIn} ${isInline ? `\`${code}\`` : `\n\`\`\`\n${code}\n\`\`\``}`.trim(), '')
}

function addQuote({ passage, headings, leadIn, quotes }: Reader, text: string, previous: string): void {
  quotes.push({ n: passage.n, text, context: [passage.title.slice(0, 300), ...headings, leadIn].join('\n'), previous })
}

/** The sentences of a text without Markdown marks, none longer than 400 characters. */
export function splitSentences(text: string): string[] {
  const sentences: string[] = []
  let open = ''
  for (const { segment } of sentenceSegmenter.segment(removeMarks(text))) {
    open += segment
    // ICU ends a sentence after an abbreviation, and inside a URL.
    if (/[.?!]$/.test(open) || abbreviation.test(open.slice(-12))) continue
    sentences.push(open)
    open = ''
  }
  return [...sentences, open].flatMap((sentence) => cutLong(collapseSpace(sentence)))
}

/** Cuts between words where there is a space. */
function cutLong(text: string): string[] {
  return text.length <= maxQuoteLength
    ? text === ''
      ? []
      : [text]
    : (text.match(/\S.{0,398}\S(?=\s|$)|\S{1,400}/gu) ?? [])
}

/** Removes emphasis, links, images and tags, and footnote marks, which look like citations. Code spans stay. */
function removeMarks(text: string): string {
  const pieces = text.split(/(`[^`]+`)/).map((piece, index) => (index % 2 === 1 ? piece : cleanProse(piece)))
  return pieces.join('').replace(/\*\*(?=\S)([^*]{1,500})(?<=\S)\*\*/g, '$1')
}

function collapseSpace(text: string): string {
  return text.replace(/[\s\p{Cc}]+/gu, ' ').trim()
}

function cleanProse(text: string): string {
  return text
    .replace(/!\[[^\]\n]{0,200}\]\([^)\s]{0,500}\)/g, ' ')
    .replace(/\[([^[\]\n]{1,300})\]\([^)\s]{0,500}\)/g, '$1')
    .replace(/\[\^?\d{1,4}\]/g, '')
    .replace(/<\/?[a-zA-Z][^<>]{0,300}>/g, ' ')
    .replace(/(?<![\p{L}\p{N}*_\\])([*_])(?=[^\s*_])([^*_\n]{1,300})(?<=\S)\1(?![\p{L}\p{N}*_])/gu, '$2')
}
