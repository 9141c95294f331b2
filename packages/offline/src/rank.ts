import type { Passage } from '@repo/llm'
import type { Question } from './question.ts'
import { type Quote, readQuotes } from './quotes.ts'
import { fold, readRoots } from './words.ts'

type Scored = { quote: Quote; score: number; order: number }

const maxPassages = 20
const maxQuotes = 600
const maxChosen = 3
const maxAnswerLength = 700
// What a word of the question is worth outside of the quote itself, and the score from which a quote is an answer.
// Chosen with the `tuned` questions of evaluation.test.ts.
const contextWorth = 0.75
const previousWorth = 0.5
const compoundWorth = 0.75
const unfitWorth = 0.85
const minScore = 0.52
const minShareOfBest = 0.8
const minCompoundPart = 5

/** The quotes that answer the question, in the order of the passages. Empty if none contains enough of its words. */
export function chooseQuotes(question: Question, passages: Passage[]): Quote[] {
  const asked = fold(question.text.trim())
  const ranked = passages
    .slice(0, maxPassages)
    .flatMap(readQuotes)
    .slice(0, maxQuotes)
    .filter(({ text }) => !/[?？؟]$/.test(asked) || !fold(text).includes(asked)) // a text that only asks the same
    .map((quote, order) => ({ quote, order, score: scoreQuote(quote, question) }))
    .filter(({ score }) => score >= minScore)
    .sort((a, b) => b.score - a.score || a.order - b.order)
  return takeBest(ranked)
    .sort((a, b) => a.order - b.order)
    .map(({ quote }) => quote)
}

function takeBest(ranked: Scored[]): Scored[] {
  const chosen: Scored[] = []
  let length = 0
  for (const candidate of ranked) {
    const { text } = candidate.quote
    length += text.length
    if (candidate.score < (ranked[0]?.score ?? 0) * minShareOfBest) break
    if (chosen.length > 0 && (chosen.length === maxChosen || length > maxAnswerLength)) break
    if (chosen.every(({ quote }) => !quote.text.includes(text) && !text.includes(quote.text))) chosen.push(candidate)
  }
  return chosen
}

/** The share of the question's words that the quote contains, 0 to 1; less if it gives another kind of answer. */
function scoreQuote({ text, context, previous }: Quote, { terms, wanted }: Question): number {
  const sources = [
    { roots: readRoots(text), worth: 1 },
    { roots: readRoots(context), worth: contextWorth },
    { roots: readRoots(previous), worth: previousWorth },
  ]
  let found = 0
  let total = 0
  for (const { root, weight } of terms) {
    found += weight * Math.max(...sources.map(({ roots, worth }) => worth * findRootIn(roots, root)))
    total += weight
  }
  const fit = wanted === undefined || wanted.test(text) ? 1 : unfitWorth
  return total > 0 ? (found / total) * fit : 0
}

function findRootIn(roots: Set<string>, root: string): number {
  return roots.has(root) ? 1 : [...roots].some((other) => isCompound(root, other)) ? compoundWorth : 0
}

/** Whether one word starts or ends with the other: `Kündigung` and `Kündigungsfrist`. */
function isCompound(one: string, other: string): boolean {
  const [short, long] = one.length < other.length ? [one, other] : [other, one]
  return short.length >= minCompoundPart && (long.startsWith(short) || long.endsWith(short))
}
