/** How many tokens a text has in the embedder's own vocabulary. */
export type CountTokens = (text: string) => number
/** Measures a part of the text in quarters of a token, in constant time. */
export type Ruler = (start: number, end: number) => number

/** Quarters of a token: what one UTF-16 unit is about in the vocabularies of embedders. */
const [latin, cyrillic, other] = [1, 2, 4]

/**
 * A word with the blanks before it and the line ends behind it, of which a vocabulary's tokens reach no further; of a
 * longer one 64 letters, because the time of tokenizers grows with the square of a word's length.
 */
const piece = /[^\S\r\n]{0,64}\S{1,64}[\r\n]{0,64}|\s{1,64}/gu

/**
 * Measures by the embedder's own tokens where they can be counted, word by word, no further into the text than it is asked.
 * Else it is an estimate, since most embedders have a vocabulary of their own and their servers do not tell it: four Latin
 * letters a token, two of Cyrillic, one of all others, two tokens an emoji. Of what OpenAI's embedders count (cl100k) that
 * is 0.64 (Finnish) to 1.3 times (English), 1.0 for Russian, Greek, Hebrew, Hindi and Thai, 0.8 for Chinese; 0.5 for
 * Georgian and 0.4 for digits are the least: a chunk of 300 has 800 at the very most.
 */
export function createRuler(text: string, count?: CountTokens): Ruler {
  const before = new Uint32Array(text.length + 1)
  const pieces = text.matchAll(piece)
  let known = 0
  const add = (length: number, quarters: number) => {
    const base = before[known] ?? 0
    for (let n = 1; n <= length; n += 1) before[known + n] = base + Math.ceil((quarters * n) / length)
    known += length
  }
  const readOn = (end: number) => {
    while (known < end) {
      const [next] = count ? (pieces.next().value ?? []) : []
      if (count && next) add(next.length, 4 * count(next))
      else add(1, weigh(text.charCodeAt(known)))
    }
  }
  return (start, end) => {
    readOn(end)
    return (before[end] ?? 0) - (before[start] ?? 0)
  }
}

function weigh(unit: number): number {
  if (unit < 0x250 || (unit >= 0x1e00 && unit < 0x2070)) return latin // with accents and punctuation
  return unit >= 0x400 && unit < 0x530 ? cyrillic : other // also halves of what takes two units
}
