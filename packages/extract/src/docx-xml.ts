import { type Document, type Element, type Node, XMLSerializer } from '@xmldom/xmldom'
import { strToU8, unzipSync, zipSync } from 'fflate'
import { writeMath } from './docx-math.ts'
import { createNumbering } from './docx-numbers.ts'
import { createRun, findAll, findChild, parseXml } from './xml.ts'

const parts = /^word\/(?:document\d*|footnotes|endnotes)\.xml$/

/**
 * Rewrites a Word document so that mammoth reads all of its text: equations become text, numbered paragraphs begin with
 * their number, and text boxes, fields and ruby become elements that mammoth knows. `images` and `diagrams` count what
 * contains no text or other text.
 */
export function simplifyDocx(bytes: Buffer): { bytes: Buffer; images: number; diagrams: number } {
  const files = unzipSync(bytes, { filter: ({ name }) => !name.startsWith('word/media/') })
  const parse = (name: string) => parseXml(files[name])
  const numberParagraphs = createNumbering(parse('word/styles.xml'), parse('word/numbering.xml'))
  const found = { images: 0, diagrams: 0 }
  for (const name of Object.keys(files).filter((name) => parts.test(name))) {
    const part = parse(name)
    if (!part) continue
    chooseAlternatives(part)
    found.images += findAll(part, 'blip').length + findAll(part, 'imagedata').length
    found.diagrams += findAll(part, 'graphicData').filter((data) =>
      /chart|diagram/.test(data.getAttribute('uri') ?? ''),
    ).length
    showTextBoxes(part)
    for (const math of findAll(part, 'oMath')) replace(math, [createRun(part, writeMath(math))])
    for (const name of ['oMathPara', 'fldSimple', 'dir', 'bdo', 'rubyBase'])
      for (const element of findAll(part, name)) replace(element, Array.from(element.childNodes))
    if (name.startsWith('word/document')) numberParagraphs(part)
    files[name] = strToU8(new XMLSerializer().serializeToString(part))
  }
  return { bytes: Buffer.from(zipSync(files, { level: 0 })), ...found }
}

function replace(element: Node, nodes: Node[]) {
  for (const node of nodes) element.parentNode?.insertBefore(node, element)
  element.parentNode?.removeChild(element)
}

/** Keeps one of the alternatives for new and old programs: the old one, unless only the new one has the text. */
function chooseAlternatives(part: Document) {
  for (const element of findAll(part, 'AlternateContent')) {
    const [choice, fallback] = ['Choice', 'Fallback'].map((name) => findChild(element, name))
    const hasText = (one?: Element) => one && /\S/.test(one.textContent ?? '')
    const kept = fallback && (hasText(fallback) || !hasText(choice)) ? fallback : choice
    replace(element, Array.from(kept?.childNodes ?? []))
  }
}

/** Turns drawings with text into the older form that mammoth reads. */
function showTextBoxes(part: Document) {
  for (const drawing of findAll(part, 'drawing')) {
    const boxes = findAll(drawing, 'txbxContent').filter((box) => !isWithin(box, 'txbxContent', drawing))
    if (boxes.length === 0) continue
    const picture = part.createElementNS(drawing.namespaceURI, 'w:pict')
    for (const box of boxes) picture.appendChild(box)
    replace(drawing, [picture])
  }
}

function isWithin(element: Node, name: string, top: Node): boolean {
  for (let node = element.parentNode; node && node !== top; node = node.parentNode)
    if ('localName' in node && node.localName === name) return true
  return false
}
