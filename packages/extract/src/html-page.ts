import { Readability } from '@mozilla/readability'
import { parseHTML } from 'linkedom'

/** Parts that every page of a site repeats, and parts without text. */
const boilerplate = [
  ...[
    'body title',
    'nav',
    'footer',
    'aside',
    'dialog',
    'template',
    'noscript',
    'svg',
    'img',
    'iframe',
    'style',
    'script',
  ],
  ...['select', 'datalist', 'textarea'],
  ...['navigation', 'banner', 'contentinfo', 'complementary', 'search', 'dialog'].map((role) => `[role="${role}"]`),
  ...['.breadcrumb', '.breadcrumbs', '.navbar', '.sidebar', '.cookie-banner', '.headerlink', '#comments', '#respond'],
].join()
const textBlocks = 'p,h1,h2,h3,h4,h5,h6,li,dd,td,pre,blockquote'
const accordions =
  '[aria-expanded],[aria-controls],[data-toggle="collapse"],[data-bs-toggle="collapse"],[class*="accordion"]'
const hidden = '[hidden],[aria-hidden="true"],[style*="display:none"],[style*="display: none"]'
const maxLabelLength = 40 // UTF-16 units
/** A part with less of the page's text is not its main part, but a teaser. */
const minShare = 0.2
/** A part in which links have a smaller share of the text contains no navigation. */
const maxLinkShare = 0.03
/** Readability takes a second and 100 MB per million characters or so. */
const maxArticleLength = 5_000_000
const noticedShare = 0.2

/** How news sites and blogs declare an article: Open Graph, JSON-LD or microdata. */
const isArticle =
  /property=["']?article:|content=["']?article["'\s/>]|"@type"\s*:\s*\[?\s*"\w*(?:Article|BlogPosting)"|schema\.org\/\w*(?:Article|BlogPosting)/i

/** What is used of the DOM. The repository's types are those of Node only. */
type Parent = { querySelector(selector: string): Element | null; querySelectorAll(selector: string): Iterable<Element> }
type Document = Parent & { title: string; body: Element; createElement(name: string): Element }
type Element = Parent & {
  id: string
  localName: string
  textContent: string | null
  innerHTML: string
  childNodes: Iterable<unknown>
  matches(selector: string): boolean
  closest(selector: string): Element | null
  getAttribute(name: string): string | null
  removeAttribute(name: string): void
  append(...nodes: unknown[]): void
  prepend(...nodes: unknown[]): void
  replaceWith(node: Element): void
  remove(): void
}

type Part = { html: string; length: number; prose: number }

/**
 * Returns the main part of a page as HTML: its only `main` or `article`, the article that Readability finds in a part
 * with many links, or the whole page if these contain little of its text. Boilerplate is removed. Text in forms, and
 * hidden parts that scripts reveal, are kept.
 */
export function selectMain(html: string): { html: string; warnings: string[] } {
  const document = parse(html)
  clean(document)
  const whole = toPart(document.body)
  const marked = findMarked(document)
  const part = marked && marked.prose >= minShare * whole.prose ? marked : whole
  const article =
    isArticle.test(html) && part.prose < (1 - maxLinkShare) * part.length && findArticle(document, html.length)
  const main = article && article.prose >= minShare * part.prose ? article : part
  const left = Math.round(100 * (1 - main.prose / whole.prose))
  const warnings =
    left >= 100 * noticedShare ? [`Only the main part of this page was read: ${left} % of its text is outside.`] : []
  return { html: main.html, warnings }
}

const frame = /<\/?(?:html|head|body)(?=[\s>/])(?:"[^"]*"|'[^']*'|[^'">])*>/gi

/** Linkedom finds the body of a page only directly below its head. A page may have several, or none. */
function parse(html: string): Document {
  const { document }: { document: Document } = parseHTML(
    `<html><head></head><body>${html.replaceAll(frame, '')}</body></html>`,
  )
  const title = document.querySelector('title')
  document.title = title?.textContent ?? ''
  return document
}

function clean(document: Document) {
  for (const element of document.querySelectorAll(boilerplate)) element.remove()
  for (const header of document.querySelectorAll('header')) if (!header.closest('main,article,section')) header.remove()
  const links = [...document.querySelectorAll('[aria-controls],a[href^="#"]')]
  const revealed = new Set(
    links.map((link) => link.getAttribute('aria-controls') ?? link.getAttribute('href')?.slice(1)),
  )
  const text = readText(document.body)
  for (const element of document.querySelectorAll(`form,button,${hidden}`)) {
    const isKept = !isLabel(element) || revealed.has(element.id) || isAccordion(element)
    if (isKept && !(element.matches(hidden) && isRepeated(element, text))) show(document, element)
    else element.remove()
  }
}

/** Carousels and dialogs often contain hidden copies of visible text. */
function isRepeated(element: Element, text: string): boolean {
  const start = readText(element).slice(0, 100)
  return text.indexOf(start) !== text.lastIndexOf(start)
}

const isLabel = (element: Element) =>
  readLength(element) < maxLabelLength && !(element.matches(textBlocks) || element.querySelector(textBlocks))

const isAccordion = (button: Element) =>
  button.localName === 'button' && (button.matches(accordions) || button.closest('h1,h2,h3,h4,h5,h6,summary') !== null)

/** Removes what makes Readability leave a part out. */
function show(document: Document, element: Element) {
  for (const name of ['hidden', 'aria-hidden', 'style']) element.removeAttribute(name)
  if (!element.matches('form,button')) return
  const plain = document.createElement('div')
  plain.append(...element.childNodes)
  element.replaceWith(plain)
}

const readText = (element: Element) => (element.textContent ?? '').replaceAll(/\s+/g, ' ').trim()
const readLength = (element: Element) => readText(element).length

function toPart(element: Element): Part {
  const length = readLength(element)
  const links = [...element.querySelectorAll('a')].reduce((sum, link) => sum + readLength(link), 0)
  return { html: element.innerHTML, length, prose: length - links }
}

function findMarked(document: Document): Part | undefined {
  const found = ['main', 'article']
    .map((name) => [...document.querySelectorAll(name)])
    .find(({ length }) => length === 1)
  return found?.[0] && toPart(found[0])
}

/** Readability changes the document. */
function findArticle(document: Document, length: number): Part | undefined {
  if (length > maxArticleLength) return undefined
  const article = new Readability(document, { charThreshold: 100 }).parse()
  if (!article?.content) return undefined
  const found = parse(article.content)
  const title = article.title && !found.body.textContent?.includes(article.title) ? article.title : ''
  if (title) {
    const heading = found.createElement('h1')
    heading.textContent = title
    found.body.prepend(heading)
  }
  return toPart(found.body)
}
