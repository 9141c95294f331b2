import type { Passage } from '../llm.ts'
import type { Cue } from './cues.ts'
import { embedText } from './embedder.ts'
import type { Lexicon } from './lexicon.ts'
import { createMatcher } from './match.ts'
import type { Question, Term } from './question.ts'
import { leansBack, splitPassage, type Unit } from './sentences.ts'

export type Candidate = {
  n: number
  /** Its place among all units, passages best first. */
  order: number
  unit: Unit
  /** Numbers of the lexicon. */
  words: Words
  /** Where else a word of the question may be found, and what it is worth there. */
  around: { words: Words; worth: number }[]
  /** The unit itself holds some word of the question, not only its surroundings. */
  isDirect: boolean
  /** The share of the question that the sources hold, 0 to 1; this decides whether there is an answer. */
  evidence: number
  /** How well the unit answers; this decides which one is the answer. */
  score: number
}

/** `missing`: the words of the question that no candidate holds. */
export type Ranking = { ranked: Candidate[]; missing: string[] }

type Words = readonly number[]
/** A term with its credit in each candidate. `rarity` is 1 for a word in few units, less for one in many. */
type Column = { term: Term; credits: number[]; holders: boolean[]; rarity: number }

const maxPassages = 20
const maxPassageLength = 8000
const maxUnits = 600
const maxCompared = 12

const askedWorth = 0.95
const contextWorth = 0.75
const titleWorth = 0.5
const previousWorth = 0.5
const referentWorth = 0.9
const minHold = 0.5
const minLoss = 0.9
const minRarity = 0.3
const similarityWeight = 0.3

/** The units of the passages in order. Bounded: what is beyond 20 passages of 8,000 characters is not looked at. */
export function readCandidates(passages: Passage[], lexicon: Lexicon): Candidate[] {
  const units = passages
    .slice(0, maxPassages)
    .flatMap(({ n, title, text }) =>
      splitPassage(text.slice(0, maxPassageLength)).map((unit) => ({ n, title: title.slice(0, 300), unit })),
    )
  return units.slice(0, maxUnits).map(({ n, title, unit }, order) => {
    const words = lexicon.read(unit.text)
    const around = [
      { words: lexicon.read(unit.asked), worth: askedWorth },
      { words: lexicon.read(unit.context), worth: contextWorth },
      { words: lexicon.read(title), worth: titleWorth },
      { words: lexicon.read(unit.previous?.text ?? ''), worth: leansBack(unit) ? referentWorth : previousWorth },
    ]
    return { n, order, unit, words, around, isDirect: false, evidence: 0, score: 0 }
  })
}

/** Rates the candidates; returns them best first, and the words of the question that none of them holds. */
export function rankCandidates(question: Question, candidates: Candidate[], lexicon: Lexicon): Ranking {
  const columns = question.terms.map((term) => fillColumn(term, candidates, lexicon))
  const rated = candidates.map((candidate, row) => rate(candidate, columns, row, question))
  const ranked = rated
    .filter(({ score }) => score > 0)
    .sort(byScore)
    .slice(0, maxCompared)
  const missing = columns.filter(({ credits }) => credits.every((credit) => credit === 0)).map(({ term }) => term.word)
  return { ranked: addSimilarity(ranked, question).sort(byScore), missing }
}

function byScore(a: Candidate, b: Candidate): number {
  return b.score - a.score || a.order - b.order
}

function fillColumn(term: Term, candidates: Candidate[], lexicon: Lexicon): Column {
  const worths = lexicon.entries.map(createMatcher(term))
  const known = new Map<Words, number>()
  const best = (words: Words): number => {
    const most = known.get(words) ?? words.reduce((top, number) => Math.max(top, worths[number] ?? 0), 0)
    known.set(words, most)
    return most
  }
  const own = candidates.map(({ words }) => best(words))
  const credits = candidates.map(({ around }, row) =>
    around.reduce((most, { words, worth }) => Math.max(most, worth * best(words)), own[row] ?? 0),
  )
  const holders = own.map((credit) => credit >= minHold)
  const rarity =
    Math.log((candidates.length + 1) / (holders.filter(Boolean).length + 0.5)) / Math.log(candidates.length + 1)
  return { term, credits, holders, rarity: Math.min(1, Math.max(minRarity, rarity)) }
}

function rate(candidate: Candidate, columns: Column[], row: number, question: Question): Candidate {
  let held = 0
  let lacking = question.isUnresolved ? 1 : 0
  let total = 0
  for (const { term, credits, rarity } of columns) {
    const credit = credits[row] ?? 0
    const weight = rarity * term.share * term.weight
    const loss = Math.max(rarity, minLoss) * term.share * term.weight * term.need
    held += weight * credit
    lacking += loss * (1 - credit)
    total += weight
  }
  const fit = measureFit(candidate.unit, question.cue)
  const evidence = held > 0 ? (held / (held + lacking)) * Math.min(1, fit) : 0
  const isDirect = columns.some(({ holders }) => holders[row])
  return { ...candidate, isDirect, evidence, score: total > 0 ? (held / total) * fit * measureShape(candidate) : 0 }
}

/** More than 1 for the kind of answer that the question wants, 0 for what cannot be one. */
function measureFit(unit: Unit, cue: Cue | undefined): number {
  if (!cue) return 1
  return cue.shows(unit) ? 1.15 : cue.isRequired ? 0 : 0.85
}

/** Fit to be quoted: short, whole, from a passage that retrieval put high. */
function measureShape({ unit, order }: Candidate): number {
  const brevity = 1 / (1 + 0.1 * Math.max(0, Math.log2(unit.text.length / 200)))
  return brevity * (unit.isPartial ? 0.8 : 1) * (1 - 0.001 * Math.min(order, 100))
}

function addSimilarity(candidates: Candidate[], { text }: Question): Candidate[] {
  const asked = embedText(text)
  return candidates.map((candidate) => {
    const said = embedText(candidate.unit.text)
    const similarity = asked.reduce((sum, value, axis) => sum + value * (said[axis] ?? 0), 0)
    return { ...candidate, score: candidate.score + similarityWeight * similarity }
  })
}
