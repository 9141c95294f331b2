import type { Entry } from './lexicon.ts'
import type { Term } from './question.ts'
import { findSynonyms } from './synonyms.ts'
import { isUnspaced } from './words.ts'

const PART_CREDIT = 0.4
const SYNONYM_CREDIT = 0.85
const STARTS_CREDIT = 0.8
const ENDS_CREDIT = 0.6
const KIN_CREDIT = 0.7
const MIN_COMMON_LETTERS = 5

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
  return pairs.length < 2 ? 0 : (KIN_CREDIT * pairs.filter((pair) => run.includes(pair)).length) / pairs.length
}

function matchWord(term: Term, { word, stem: other }: Entry, group: number | undefined): number {
  if (word === term.word) return 1
  if (other === term.stem) return 1
  if (term.parts.includes(other)) return PART_CREDIT / term.parts.length
  if (group !== undefined && group === findSynonyms(other)) return SYNONYM_CREDIT
  return matchKin(term.stem, other)
}

/** What German, French and Spanish add to a short word; `Tag` and `Tage` are one, `auth` and `author` are not. */
const INFLECTION = /^(?:e|n|en|er|es|em|s|x|a|o|as|os)$/

/** `cancel` and `cancellation`, `Kündigung` and `Kündigungsfrist`, `Wassertank` and `Tank`s: one word in another. */
function matchKin(one: string, other: string): number {
  const [short, long] = one.length <= other.length ? [one, other] : [other, one]
  const isEnding = short.length === MIN_COMMON_LETTERS - 1 && INFLECTION.test(long.slice(short.length))
  if (short.length < MIN_COMMON_LETTERS && !isEnding) return 0
  if (long.startsWith(short)) return STARTS_CREDIT
  if (isEnding) return 0
  if (long.endsWith(short)) return ENDS_CREDIT
  let common = 0
  while (common < short.length && short[common] === long[common]) common++
  return common >= MIN_COMMON_LETTERS && common >= long.length * 0.65 ? KIN_CREDIT : 0
}
