import { DOMParser, type Document, type Element } from '@xmldom/xmldom'
import { strFromU8 } from 'fflate'

/** Returns the document tree of a part, if there is this part. Throws if it is not XML. */
export function parseXml(bytes: Uint8Array | undefined): Document | undefined {
  return bytes && new DOMParser().parseFromString(strFromU8(bytes).replace(/^\uFEFF/, ''), 'text/xml')
}

/** Returns the descendants with this name, whatever the prefix of its namespace. */
export const findAll = (parent: Document | Element, name: string): Element[] =>
  Array.from(parent.getElementsByTagNameNS('*', name))

/** Returns the first child with this name. */
export const findChild = (parent: Element | undefined, name: string): Element | undefined =>
  parent && Array.from(parent.children).find(({ localName }) => localName === name)

/** Returns an attribute of the first child with this name. Attributes have a prefix in Word's namespaces. */
export function readValue(parent: Element | undefined, name: string, attribute = 'val'): string | undefined {
  const child = findChild(parent, name)
  return child && readAttribute(child, attribute)
}

/** Returns an attribute, whatever its prefix. */
export const readAttribute = (element: Element, name: string): string | undefined =>
  Array.from(element.attributes).find(({ localName }) => localName === name)?.value

/** Returns a run with this text. */
export function createRun(document: Document, text: string): Element {
  const create = (name: string) => document.createElementNS(document.documentElement?.namespaceURI ?? null, `w:${name}`)
  const [run, content] = [create('r'), create('t')]
  content.textContent = text
  run.appendChild(content)
  return run
}
