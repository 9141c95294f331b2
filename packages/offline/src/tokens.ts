const charactersPerToken = 4 // the usual estimate for English

/** Estimates the tokens of a text: this model has none. */
export function countTokens(text: string): number {
  return Math.ceil(text.length / charactersPerToken)
}

export type Limits = { stopSequences: string[]; maxTokens: number }

/** Cuts a text before its first stop sequence or at its last allowed token, whichever comes first. */
export function limitText(
  text: string,
  { stopSequences, maxTokens }: Limits,
): { text: string; finishReason: 'stop' | 'length' } {
  const maxLength = maxTokens * charactersPerToken
  const stops = stopSequences.map((sequence) => text.indexOf(sequence)).filter((start) => start !== -1)
  const end = Math.min(text.length, ...stops)
  if (end <= maxLength) return { text: text.slice(0, end), finishReason: 'stop' }
  return { text: text.slice(0, maxLength).replace(/[\ud800-\udbff]$/, ''), finishReason: 'length' } // keeps pairs whole
}
