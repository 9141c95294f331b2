import type { ChatMessage } from '../llm.ts'
import { type Cue, readCue } from './cues.ts'
import { isGerman, isUnspaced, pickFunctionWords, readWords, segmentRun, stem, type Word } from './words.ts'

/** A word that the answer should have something to do with. */
export type Term = {
  word: string
  stem: string
  /** Stems of an identifier's parts: `max_client_conn` is asked for as a whole, its parts count a little. */
  parts: readonly string[]
  /** More than 1 for an identifier, less for what `this` points at. */
  weight: number
  /** How much it counts against an answer that lacks it: more than 1 for a name, less for a German verb. */
  need: number
  /** Less than 1 for a word borrowed from the question before. */
  share: number
  /** It is of a German question: its kin are found as German makes them. */
  isGerman: boolean
}

export type Question = {
  text: string
  terms: Term[]
  cue: Cue | undefined
  /** It asks about `this` or `it`, and nothing says what that is. */
  isUnresolved: boolean
}

const maxTerms = 24
const maxQuestionLength = 1000
const nameNeed = 1.3
/** What a question says with a verb, a text says with another: `eine Badekappe tragen`, `Badekappen sind Pflicht`. */
const germanVerbNeed = 0.6
const exactWeight = 1.6
const pointedWeight = 0.3
const leaningShare = 0.5
const bareShare = 0.25

const pronoun =
  'it|its|they|them|their|that|this|these|those|he|she|er|sie|(?<!gibt )es|das|dies|diese[ners]?|ihn|ils?|elles?|ce|cela|ça|eso|esto|ello'
const conjunction = 'and|but|or|what about|how about|und|aber|et|mais|y|pero'
const leansOnPrevious = new RegExp(
  `^\\s*(?:${conjunction})(?!\\p{L})|(?<!\\p{L})(?:${pronoun})(?!\\p{L})|^那|它|他们`,
  'iu',
)
const endsInPronoun = new RegExp(`^[^,;:.]*(?<!\\p{L})(?:${pronoun})(?:\\s+(?:documents?|text))?[\\s?!.]*$`, 'iu')

/** `This project`, `dieses Produkt`: what the documents are about, which they need not call so. */
const demonstratives = new Set('this these dies diese dieser dieses ce cette ces este esta estos estas'.split(' '))

/** What the last user message asks; a follow-up borrows words from the question before it. */
export function readQuestion(messages: ChatMessage[]): Question {
  const asked = messages.filter(({ role }) => role === 'user').map(({ content }) => content.slice(-maxQuestionLength))
  const text = asked.at(-1) ?? ''
  const { cue, rest } = readCue(text)
  const own = readTerms(rest)
  const stems = new Set(own.map((term) => term.stem))
  const leans = own.length === 0 || (own.length <= 3 && leansOnPrevious.test(text))
  // `Who pays?` may be about the topic before, or a new one.
  const isBare = own.length === 1 && cue !== undefined
  const earlier =
    leans || isBare
      ? asked
          .slice(-4, -1)
          .reverse()
          .map((question) => readTerms(readCue(question).rest))
      : []
  const borrowed = (earlier.find((terms) => terms.length > 0) ?? [])
    .filter((term) => !stems.has(term.stem))
    .map((term) => ({ ...term, share: leans ? leaningShare : bareShare }))
  const isUnresolved = own.length === 1 && borrowed.length === 0 && endsInPronoun.test(text)
  return { text, terms: [...own, ...borrowed], cue, isUnresolved }
}

/**
 * The last of a user's messages, oldest first, as a search should read it: a follow-up ("and what does it cost?") together
 * with the question that it leans on. No model is called.
 */
export function toSearchText(asked: string[]): string {
  const last = asked.at(-1) ?? ''
  if (asked.length < 2) return last // it has nothing to lean on
  const { terms } = readQuestion(asked.map((content) => ({ role: 'user', content })))
  if (terms.every(({ share }) => share === 1)) return last
  return `${last} ${asked.slice(-4, -1).findLast((question) => readTerms(readCue(question).rest).length > 0) ?? ''}`
}

function readTerms(text: string): Term[] {
  const words = readWords(text).flatMap(separate)
  const functionWords = pickFunctionWords(words.map(({ word }) => word))
  const german = isGerman(words.map(({ word }) => word))
  const terms = new Map<string, Term>()
  words.forEach(({ word, parts, isExact, isName }, index) => {
    if (word === '' || functionWords.has(word) || (word.length === 1 && !/[\d\p{Lo}]/u.test(word))) return
    const isPointedAt = demonstratives.has(words[index - 1]?.word ?? '')
    const weight = isExact ? exactWeight : isPointedAt ? pointedWeight : 1
    // German nouns are all written as names are.
    const need = german ? (isName || isExact ? 1 : germanVerbNeed) : isName && index > 0 ? nameNeed : 1
    const key = stem(word)
    if (!terms.has(key))
      terms.set(key, { word, stem: key, parts: parts.map(stem), weight, need, share: 1, isGerman: german })
  })
  return [...terms.values()].slice(0, maxTerms)
}

/** Only an identifier is asked for as a whole; `on-call` is two words, and a Chinese clause is many. */
function separate(word: Word): Word[] {
  if (isUnspaced(word.word)) return segmentRun(word.word).map((part) => ({ ...word, word: part, parts: [] }))
  if (word.isExact || word.parts.length === 0) return [word]
  return word.parts.map((part) => ({ ...word, word: part, parts: [] }))
}
