import { foldAccents, guessLanguages, isAscii, type LanguageName, languageNames, languages } from './languages.ts'
import { termSpace } from './schema.ts'

/** Changes when the same text yields other terms. `Intl.Segmenter` takes its dictionaries from ICU. */
const version = `1-icu${process.versions.icu?.split('.')[0]}`

/** Finds the terms of chunks and questions. */
export type Tokenizer = ReturnType<typeof createTokenizer>

/**
 * Creates the tokenizer of a process. All processes need the same one, otherwise they do not find each other's chunks.
 * `language` is the language of all texts. Default: it is guessed for each text.
 */
export function createTokenizer(language?: LanguageName) {
  return {
    version: language ? `${version}-${language}` : version,
    countTerms: (text: string, isQuestion = false) => countTerms(text, isQuestion, language),
    /** Returns what is stored of a chunk's terms: see `weighTerms`. */
    indexTerms: (owner: string, text: string) => weighTerms(owner, countTerms(text, false, language)),
  }
}

const segmenter = new Intl.Segmenter('en', { granularity: 'word' })
const invisible = /[\u00ad\u200b-\u200d\u2060\ufeff]/g // soft hyphens, zero-width spaces and joiners
/** Such as `iso-9001` and `v1.2.3`. The parts of `node.js` or `user_id` are specific enough without the whole. */
const compounds = /[\p{L}\p{N}](?:[-_.:/@\p{L}\p{N}]*[\p{L}\p{N}])?/gu
const isCode = (compound: string) => /\p{N}/u.test(compound) && /[-_.:/@]/.test(compound)
/** `Intl.Segmenter` keeps these inside a word. */
const separators = /[_.:'’]+/
const hangul = /\p{Script=Hangul}/u
/** Only words of letters have stems and prefixes. */
const unstemmed = /[\p{N}\p{Script=Han}\p{Script=Hiragana}\p{Script=Katakana}\p{Script=Thai}]/u

/**
 * Returns the terms of a text with their frequencies. The same function serves chunks and questions.
 *
 * Words are those of `Intl.Segmenter`, after NFKC and in lower case. Identifiers are taken apart, and those with digits
 * are also kept whole. Stop words are left out and the rest are stemmed, in the language that the text's stop words
 * indicate. A chunk has one language, by default English. A question may be too short to tell: then it keeps all words,
 * stemmed in every language. Words that are not English also get their first five letters as a term, which finds
 * compounds and inflections that stemmers miss. Korean words become pairs of characters, because particles cling to them.
 */
function countTerms(text: string, isQuestion: boolean, language?: LanguageName): Map<string, number> {
  const plain = text.normalize('NFKC').toLowerCase().replaceAll(invisible, '')
  const words = [...segmenter.segment(plain)].flatMap(({ segment, isWordLike }) => (isWordLike ? segment : []))
  const names = language ? [language] : chooseLanguages(words, isQuestion)
  const counts = new Map<string, number>()
  const count = (term: string) => counts.set(term, (counts.get(term) ?? 0) + 1)
  for (const word of words) recallTerms(word, names).forEach(count)
  plain.match(compounds)?.filter(isCode).forEach(count)
  return counts
}

/** Words that are remembered with their terms, which takes a few megabytes and saves two thirds of the time. */
const mostRemembered = 20_000
const remembered = new Map<string, string[]>()

function recallTerms(word: string, names: LanguageName[]): string[] {
  const key = `${names} ${word}`
  const known = remembered.get(key)
  if (known) return known
  if (remembered.size === mostRemembered) remembered.clear()
  const terms = toTerms(key.slice(-word.length), names) // of the key, because a slice of the text would keep all of it
  remembered.set(key, terms)
  return terms
}

function toTerms(word: string, names: LanguageName[]): string[] {
  const spoken = names.map((name) => languages[name])
  const isEnglish = names.length === 1 && names[0] === 'english'
  const isKnown = names !== languageNames // otherwise each word would be a stop word of some language
  const isStopWord = (part: string) => isKnown && spoken.some(({ stopWords }) => stopWords.has(foldAccents(part)))
  if (isStopWord(word)) return []
  return word.split(separators).flatMap((part) => {
    if (part === '' || isStopWord(part)) return []
    if (hangul.test(part)) return pairCharacters(part)
    if (unstemmed.test(part)) return [part]
    const stems = new Set(spoken.map(({ stem }) => stem(part)))
    const hasPrefix = part.length > 6 && !(isEnglish && isAscii(part))
    return hasPrefix ? [...stems, `${[...part].slice(0, 5).join('')}*`] : [...stems]
  })
}

function chooseLanguages(words: string[], isQuestion: boolean): LanguageName[] {
  const guessed = guessLanguages(words)
  if (isQuestion) return guessed.length > 0 ? guessed : languageNames
  return guessed.length === 0 || guessed.includes('english') ? ['english'] : guessed.slice(0, 1)
}

function pairCharacters(word: string): string[] {
  const characters = [...word]
  return characters.length === 1 ? characters : characters.slice(1).map((next, index) => `${characters[index]}${next}`)
}

/** The usual constants of BM25 (Robertson and Zaragoza 2009). */
const [saturation, lengthEffect] = [1.2, 0.75]
/** In terms. A constant, so that a chunk's weights do not change with other chunks. */
const averageLength = 60

/**
 * Returns what is stored of a chunk's terms: their numbers, and their BM25 weights as a `sparsevec` in pgvector's text
 * format. The inner product with the rarities of a question's terms is the chunk's BM25 score.
 */
function weighTerms(owner: string, counts: Map<string, number>): { terms: number[]; weights: string } {
  const length = counts.values().reduce((sum, count) => sum + count, 0)
  const slowness = saturation * (1 - lengthEffect + (lengthEffect * length) / averageLength)
  const weights = new Map<number, number>()
  for (const [term, count] of counts)
    weights.set(toTermNumber(owner, term), (count * (saturation + 1)) / (count + slowness))
  const entries = Array.from(weights, ([number, weight]) => `${number}:${weight.toFixed(3)}`)
  return { terms: [...weights.keys()], weights: `{${entries.join()}}/${termSpace}` }
}

/**
 * Returns the number of an owner's term, from 1 to a billion. Owners have different numbers for the same term, so the
 * index holds a list of chunks for each owner's term, and a search reads nothing of other owners.
 */
export function toTermNumber(owner: string, term: string): number {
  const text = owner + term
  let hash = 0x811c9dc5 // FNV-1a, 32 bits: a tenth of the time of node:crypto
  for (let index = 0; index < text.length; index += 1) hash = Math.imul(hash ^ text.charCodeAt(index), 0x01000193)
  return ((hash >>> 0) % termSpace) + 1
}
