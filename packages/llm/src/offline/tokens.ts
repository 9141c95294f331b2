/** There are no tokens here; four characters each is the vendors' rule of thumb for English. */
export const charactersPerToken = 4

export function countTokens(text: string): number {
  return Math.ceil(text.length / charactersPerToken)
}
