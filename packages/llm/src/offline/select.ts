import type { Passage } from '../llm.ts'
import { createLexicon } from './lexicon.ts'
import type { Question } from './question.ts'
import { type Candidate, rankCandidates, readCandidates } from './score.ts'
import { leansBack } from './sentences.ts'
import { fold } from './words.ts'

/** `missing`: the words of the question that no passage holds. */
export type Selection = { chosen: Candidate[]; missing: string[] }

const maxChosen = 4
const maxAnswerLength = 700
const minEvidence = 0.52
const minScoreShare = 0.8
const maxRedundancy = 0.6

/**
 * The sentences that answer the question, best passage first and in document order inside a passage; none when the
 * passages do not hold enough of what is asked. Work is bounded whatever the passages are.
 */
export function selectSentences(question: Question, passages: Passage[]): Selection {
  const lexicon = createLexicon()
  const candidates = readCandidates(passages, lexicon).filter(({ unit }) => !repeatsQuestion(unit.text, question.text))
  const { ranked, missing } = rankCandidates(question, candidates, lexicon)
  const chosen: Candidate[] = []
  const supported = ranked.filter(({ evidence }) => evidence >= minEvidence)
  const least = (supported[0]?.score ?? 0) * minScoreShare
  for (const candidate of supported) {
    if (candidate.score < least) continue
    if (chosen.length > 0 && !candidate.isDirect) continue
    if (chosen.some((other) => measureRedundancy(candidate, other) > maxRedundancy)) continue
    const added = [...findReferent(candidate, candidates), candidate].filter(
      ({ order }) => !chosen.some((other) => other.order === order),
    )
    if (chosen.length > 0 && !hasRoom([...chosen, ...added])) break
    chosen.push(...added)
  }
  return { chosen: arrange(chosen), missing }
}

/** A text that only asks the same, an example in a manual perhaps, holds every word of the question and no answer. */
function repeatsQuestion(text: string, question: string): boolean {
  const asked = fold(question.trim())
  return /[?？؟]$/.test(asked) && fold(text).includes(asked)
}

/** What the `it` or `they` at the start of a sentence refers to stands in the sentence before. */
function findReferent({ unit }: Candidate, all: Candidate[]): Candidate[] {
  return leansBack(unit) ? all.filter((other) => other.unit === unit.previous) : []
}

function hasRoom(chosen: Candidate[]): boolean {
  return chosen.length <= maxChosen && chosen.reduce((sum, { unit }) => sum + unit.text.length, 0) <= maxAnswerLength
}

/** The share of the smaller sentence that the other says too. */
function measureRedundancy(one: Candidate, other: Candidate): number {
  const shared = one.words.filter((word) => other.words.includes(word)).length
  return shared / Math.max(1, Math.min(one.words.length, other.words.length))
}

function arrange(chosen: Candidate[]): Candidate[] {
  const places = [...new Set(chosen.map(({ n }) => n))]
  return [...chosen].sort((a, b) => places.indexOf(a.n) - places.indexOf(b.n) || a.order - b.order)
}
