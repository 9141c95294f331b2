/** Quarters of a token: what one UTF-16 unit is about in the vocabularies of embedders. */
const [latin, otherScript, ideograph] = [1, 2, 4]

/**
 * Measures any part of a text in quarters of a token, in constant time. An estimate, since each embedder has a vocabulary
 * of its own and servers do not tell it: four Latin letters a token, two of other alphabets, one ideograph, kana or Hangul
 * syllable, two tokens an emoji. On prose of ten languages it is 0.9 to 1.8 times what OpenAI's newer vocabulary
 * (o200k) counts, and 0.4 (Hindi, Hebrew) to 1.2 times what the older one of its embedders (cl100k) does: a chunk of 300
 * has 700 at the very most.
 */
export function createRuler(text: string): (start: number, end: number) => number {
  const before = new Uint32Array(text.length + 1)
  for (let index = 0; index < text.length; index += 1)
    before[index + 1] = (before[index] ?? 0) + weigh(text.charCodeAt(index))
  return (start, end) => (before[end] ?? 0) - (before[start] ?? 0)
}

function weigh(unit: number): number {
  if (unit < 0x250 || (unit >= 0x1e00 && unit < 0x2070)) return latin // with accents and punctuation
  if ((unit >= 0x2e80 && unit < 0xe000) || unit >= 0xf900) return ideograph // also halves of what takes two units
  return otherScript
}
