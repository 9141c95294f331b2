import type { Entry } from './lexicon.ts'
import type { Term } from './question.ts'
import { findSynonyms } from './synonyms.ts'
import { findGermanRoot, isUnspaced } from './words.ts'

const partCredit = 0.4
const synonymCredit = 0.85
const inflectedCredit = 0.9
const startsCredit = 0.8
const endsCredit = 0.6
const kinCredit = 0.7
const minCommonLetters = 5

/** A function that says how well a word of a document stands for the term, 0 to 1. */
export function createMatcher(term: Term): (entry: Entry) => number {
  if (isUnspaced(term.word)) return ({ word }) => matchInRun(term, word)
  if (/\d/.test(term.word)) return ({ word }) => (word === term.word ? 1 : 0)
  const group = findSynonyms(term.stem)
  return (entry) => matchWord(term, entry, group)
}

/** Words are not told apart in the run, so that the term, or most of its pairs of letters, is looked for in it. */
function matchInRun(term: Term, run: string): number {
  if (run.includes(term.word)) return 1
  const pairs = Array.from({ length: term.word.length - 1 }, (_, index) => term.word.slice(index, index + 2))
  return pairs.length < 2 ? 0 : (kinCredit * pairs.filter((pair) => run.includes(pair)).length) / pairs.length
}

function matchWord(term: Term, { word, stem: other }: Entry, group: number | undefined): number {
  if (word === term.word) return 1
  if (other === term.stem) return 1
  if (term.parts.includes(other)) return partCredit / term.parts.length
  if (group !== undefined && group === findSynonyms(other)) return synonymCredit
  return Math.max(matchKin(term.stem, other), term.isGerman ? matchGerman(term.word, word) : 0)
}

/** The same root, or one in a compound of the other. */
function matchGerman(one: string, other: string): number {
  const [asked, found] = [findGermanRoot(one), findGermanRoot(other)]
  return asked === found ? inflectedCredit : matchKin(asked, found)
}

/** What German, French and Spanish add to a short word; `Tag` and `Tage` are one, `auth` and `author` are not. */
const inflection = /^(?:e|n|en|er|es|em|s|x|a|o|as|os)$/

/** `cancel` and `cancellation`, `Kündigung` and `Kündigungsfrist`, `Wassertank` and `Tank`s: one word in another. */
function matchKin(one: string, other: string): number {
  const [short, long] = one.length <= other.length ? [one, other] : [other, one]
  const isEnding = short.length === minCommonLetters - 1 && inflection.test(long.slice(short.length))
  if (short.length < minCommonLetters && !isEnding) return 0
  if (long.startsWith(short)) return startsCredit
  if (isEnding) return 0
  if (long.endsWith(short)) return endsCredit
  let common = 0
  while (common < short.length && short[common] === long[common]) common++
  return common >= minCommonLetters && common >= long.length * 0.65 ? kinCredit : 0
}
