import type { Document, Element } from '@xmldom/xmldom'
import { createRun, findAll, findChild, readAttribute, readValue } from './xml.ts'

type Level = { start: number; format: string; text: string; style?: string | undefined; isLegal: boolean }
type List = { id: string; levels: Map<number, Level>; restarts: Map<number, number> }
type Position = { numId?: string | undefined; level?: number | undefined }

/** Returns a function that inserts the number of each numbered paragraph as text, as Word shows it. */
export function createNumbering(styles?: Document, numbering?: Document): (part: Document) => void {
  const readStyle = createStyles(styles)
  const lists = numbering ? readLists(numbering, readStyle) : new Map<string, List>()
  const counters = new Map<string, number[]>()
  const restarted = new Set<string>()

  const writeNumber = (paragraph: Element): string => {
    const properties = findChild(paragraph, 'pPr')
    const style = readValue(properties, 'pStyle')
    const position = { ...readStyle(style), ...readPosition(properties) }
    const list = lists.get(position.numId ?? '0')
    if (!list) return ''
    const index = position.level ?? findLevelOfStyle(list, style)
    const level = list.levels.get(index)
    if (!level) return ''
    const counts = counters.get(list.id) ?? []
    counters.set(list.id, count(counts, list, index, restarted, position.numId ?? ''))
    return formatNumber(list, level, counters.get(list.id) ?? [])
  }

  return (part) => {
    for (const paragraph of findAll(part, 'p')) {
      const properties = findChild(paragraph, 'pPr')
      const isDeleted = findChild(findChild(properties, 'rPr'), 'del')
      const number = properties && !isDeleted ? writeNumber(paragraph) : ''
      if (number && findAll(paragraph, 't').length > 0)
        paragraph.insertBefore(createRun(part, `${number} `), properties?.nextSibling ?? null)
    }
  }
}

/** Returns the counters after a paragraph at level `index`. Deeper levels begin again, higher ones count from their start. */
function count(counts: number[], list: List, index: number, restarted: Set<string>, numId: string): number[] {
  const startOf = (level: number) => list.restarts.get(level) ?? list.levels.get(level)?.start ?? 1
  const isFirst = list.restarts.has(index) && !restarted.has(`${numId} ${index}`)
  restarted.add(`${numId} ${index}`)
  const higher = Array.from({ length: index }, (_, level) => counts[level] ?? startOf(level))
  const last = counts[index]
  return [...higher, last === undefined || isFirst ? startOf(index) : last + 1]
}

function formatNumber({ levels }: List, { text, format, isLegal }: Level, counts: number[]): string {
  if (format === 'bullet') return ''
  const toText = (digit: string) => {
    const index = Number(digit) - 1
    const count = counts[index]
    return count === undefined ? '' : writeCount(count, isLegal ? 'decimal' : (levels.get(index)?.format ?? 'decimal'))
  }
  return text.replaceAll(/%([1-9])/g, (_, digit: string) => toText(digit)).trim()
}

const romans: [string, number][] = [
  ...([
    ['m', 1000],
    ['cm', 900],
    ['d', 500],
    ['cd', 400],
    ['c', 100],
    ['xc', 90],
    ['l', 50],
  ] as [string, number][]),
  ...([
    ['xl', 40],
    ['x', 10],
    ['ix', 9],
    ['v', 5],
    ['iv', 4],
    ['i', 1],
  ] as [string, number][]),
]

function toRoman(count: number): string {
  const [sign, value] = romans.find(([, value]) => value <= count) ?? []
  return sign && value && count < 5000 ? sign + toRoman(count - value) : ''
}

/** After `z` Word continues with `aa`, `bb`. */
const toLetter = (count: number) => String.fromCharCode(97 + ((count - 1) % 26)).repeat(Math.ceil(count / 26))

function writeCount(count: number, format: string): string {
  if (format === 'none') return ''
  if (format === 'decimalZero') return String(count).padStart(2, '0')
  const text =
    /Letter$/.test(format) && count < 1000 ? toLetter(count) : /Roman$/.test(format) ? toRoman(count) : String(count)
  return format.startsWith('upper') ? text.toUpperCase() : text
}

function readPosition(properties: Element | undefined): Position {
  const numPr = findChild(properties, 'numPr')
  const [numId, level] = [readValue(numPr, 'numId'), readValue(numPr, 'ilvl')]
  return { ...(numId && { numId }), ...(level && { level: Number(level) }) }
}

/** Returns a function that finds the list of a paragraph style, which it may inherit. */
function createStyles(styles?: Document): (id?: string) => Position {
  const all = new Map(styles ? findAll(styles, 'style').map((style) => [readAttribute(style, 'styleId'), style]) : [])
  const read = (id: string | undefined, depth = 0): Position => {
    const style = all.get(id)
    if (!id || !style || depth > 20) return {}
    return { ...read(readValue(style, 'basedOn'), depth + 1), ...readPosition(findChild(style, 'pPr')) }
  }
  return (id) => read(id)
}

const findLevelOfStyle = ({ levels }: List, style?: string): number =>
  [...levels].find(([, level]) => style !== undefined && level.style === style)?.[0] ?? 0

function readLists(numbering: Document, readStyle: (id?: string) => Position): Map<string, List> {
  const abstracts = new Map(
    findAll(numbering, 'abstractNum').map((list) => [readAttribute(list, 'abstractNumId'), list]),
  )
  const nums = new Map(findAll(numbering, 'num').map((num) => [readAttribute(num, 'numId') ?? '', num]))
  const resolve = (id: string | undefined, depth = 0): Element | undefined => {
    const list = abstracts.get(readValue(nums.get(id ?? ''), 'abstractNumId'))
    const link = readValue(list, 'numStyleLink')
    return link && depth < 5 ? resolve(readStyle(link).numId, depth + 1) : list
  }
  return new Map(
    [...nums].flatMap(([id, num]) => {
      const list = resolve(id)
      return list ? [[id, readList(list, num)] as const] : []
    }),
  )
}

function readList(list: Element, num: Element): List {
  const overrides = findAll(num, 'lvlOverride')
  const levels = [...findAll(list, 'lvl'), ...overrides.flatMap((override) => findAll(override, 'lvl'))].map(
    (level) => [Number(readAttribute(level, 'ilvl')), readLevel(level)] as const,
  )
  const restarts = overrides.flatMap((override) => {
    const start = readValue(override, 'startOverride')
    return start ? [[Number(readAttribute(override, 'ilvl')), Number(start)] as const] : []
  })
  return { id: readAttribute(list, 'abstractNumId') ?? '', levels: new Map(levels), restarts: new Map(restarts) }
}

function readLevel(level: Element): Level {
  return {
    start: Number(readValue(level, 'start') ?? 1),
    format: readValue(level, 'numFmt') ?? 'decimal',
    text: readValue(level, 'lvlText') ?? '',
    style: readValue(level, 'pStyle'),
    isLegal: findChild(level, 'isLgl') !== undefined,
  }
}
