/** Words that refer to something mentioned before. German `es gibt` does not. */
const pronouns =
  'it|its|they|them|their|that|this|these|those|he|she|er|sie|(?<!gibt )es|das|dies|diese[ners]?|ihn|ils?|elles?|ce|cela|ça|eso|esto|ello'
const conjunctions = 'and|but|or|what about|how about|und|aber|et|mais|y|pero'
const questionWords =
  'why|who|when|where|how|how (?:much|many|long|often)|which|warum|wieso|wer|wann|wo|wie|wie (?:viel|lange|oft)|pourquoi|qui|quand|où|combien|por qué|quién|cuándo|dónde|cuánto'

const startsWithConjunction = new RegExp(`^\\W*(?:${conjunctions})(?!\\p{L})|^那`, 'iu')
const containsPronoun = new RegExp(`(?<!\\p{L})(?:${pronouns})(?!\\p{L})|它|他们`, 'iu')
/** Matches questions without a subject, such as `Why?` or `Who pays?`. */
const hasNoSubject = new RegExp(`^\\W*(?:${questionWords})(?:\\s+\\p{L}+)?\\W*$`, 'iu')

const maxFollowUpLength = 500 // UTF-16 units; a longer text names its subject
const maxPronounWords = 10 // a longer question usually names what its pronoun refers to
/** How many of the last questions `rewriteQuestion` reads. */
export const maxQuestions = 4

/**
 * Returns the search text for the last of a user's messages (oldest first). A follow-up such as "and what does it
 * cost?" is searched together with the question that it refers to. No model is called.
 */
export function rewriteQuestion(asked: string[]): string {
  const last = asked.at(-1) ?? ''
  if (!isFollowUp(last)) return last
  const subject = asked.slice(-maxQuestions, -1).findLast((question) => !isBare(question))
  return subject === undefined ? last : `${last} ${subject}`
}

/** Returns whether a question such as `Why?` or `And why?` contains nothing to search for. */
function isBare(question: string): boolean {
  return hasNoSubject.test(question.replace(startsWithConjunction, ''))
}

function isFollowUp(question: string): boolean {
  if (question.length > maxFollowUpLength) return false
  if (startsWithConjunction.test(question) || hasNoSubject.test(question)) return true
  const words = question.match(/[\p{L}\p{N}]+/gu) ?? []
  return words.length <= maxPronounWords && containsPronoun.test(question)
}
