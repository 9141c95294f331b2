import type { Element } from '@xmldom/xmldom'
import { findChild, readValue } from './xml.ts'

type Write = (element: Element) => string

const child = (element: Element, name: string) => {
  const found = findChild(element, name)
  return found ? writeMath(found) : ''
}
/** Returns a part in parentheses, unless it is one number, name or character. */
const group = (element: Element, name: string) => {
  const text = child(element, name)
  return /^(?:[\p{L}\p{N}.]+|.)?$/u.test(text) ? text : `(${text})`
}
const below = (element: Element) => (child(element, 'sub') ? `_${group(element, 'sub')}` : '')
const above = (element: Element) => (child(element, 'sup') ? `^${group(element, 'sup')}` : '')
const list = (element: Element, name: string, separator: string) =>
  Array.from(element.children)
    .filter(({ localName }) => localName === name)
    .map(writeMath)
    .join(separator)
const property = (element: Element, name: string, otherwise: string) =>
  readValue(findChild(element, `${element.localName}Pr`), name) ?? otherwise

/** How each element of ECMA-376 Part 1, 22.1 is written in one line, as in UnicodeMath. */
const writers: { [name: string]: Write } = {
  f: (element) => `${group(element, 'num')}/${group(element, 'den')}`,
  sSup: (element) => `${group(element, 'e')}${above(element)}`,
  sSub: (element) => `${group(element, 'e')}${below(element)}`,
  sSubSup: (element) => `${group(element, 'e')}${below(element)}${above(element)}`,
  sPre: (element) => `${below(element)}${above(element)}${group(element, 'e')}`,
  rad: (element) => `${child(element, 'deg') && `${group(element, 'deg')}`}√${group(element, 'e')}`,
  nary: (element) => `${property(element, 'chr', '∫')}${below(element)}${above(element)} ${child(element, 'e')}`,
  func: (element) => `${child(element, 'fName')} ${child(element, 'e')}`,
  limLow: (element) => `${child(element, 'e')}_${group(element, 'lim')}`,
  limUpp: (element) => `${child(element, 'e')}^${group(element, 'lim')}`,
  acc: (element) => `${child(element, 'e')}${property(element, 'chr', '\u0302')}`,
  d: (element) =>
    property(element, 'begChr', '(') +
    list(element, 'e', property(element, 'sepChr', '|')) +
    property(element, 'endChr', ')'),
  m: (element) => `[${list(element, 'mr', '; ')}]`,
  mr: (element) => list(element, 'e', ', '),
  eqArr: (element) => list(element, 'e', '; '),
  t: (element) => element.textContent ?? '',
  del: () => '',
}

/** Returns an equation as one line of text. */
export function writeMath(element: Element): string {
  const write = writers[element.localName ?? ''] ?? writeAll
  return write(element)
}

const writeAll: Write = (element) => Array.from(element.children).map(writeMath).join('')
