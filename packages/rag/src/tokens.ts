/** Counts the tokens of a text with the embedder's own tokenizer. */
export type CountTokens = (text: string) => number
/** Returns the size of a part of the text in quarters of a token. Text is measured once, so repeated calls are cheap. */
export type TokenEstimator = (start: number, end: number) => number

/** The estimated size of a UTF-16 unit in quarters of a token. */
const [latin, cyrillic, other] = [1, 2, 4]

/**
 * A word with the blanks before it and the line ends after it, because tokens do not extend further. At most 64
 * letters, because tokenizers take quadratic time for long words.
 */
const piece = /[^\S\r\n]{0,64}\S{1,64}[\r\n]{0,64}|\s{1,64}/gu

/**
 * Returns a function that measures parts of the text. It reads the text only as far as needed.
 *
 * With `count`, it uses the embedder's own tokens, word by word. Otherwise it estimates, because most embedding servers
 * do not publish their vocabulary: a token is four Latin letters, two Cyrillic letters or one character of other
 * scripts; an emoji is two tokens. A chunk of an estimated 300 tokens has 800 in the worst case (see docs/measurements.md).
 */
export function createTokenEstimator(text: string, count?: CountTokens): TokenEstimator {
  const before = new Uint32Array(text.length + 1)
  const pieces = text.matchAll(piece)
  let known = 0
  const add = (length: number, quarters: number) => {
    const base = before[known] ?? 0
    for (let n = 1; n <= length; n += 1) before[known + n] = base + Math.ceil((quarters * n) / length)
    known += length
  }
  const measureUpTo = (end: number) => {
    while (known < end) {
      const [next] = count ? (pieces.next().value ?? []) : []
      if (count && next) add(next.length, 4 * count(next))
      else add(1, weigh(text.charCodeAt(known)))
    }
  }
  return (start, end) => {
    measureUpTo(end)
    return (before[end] ?? 0) - (before[start] ?? 0)
  }
}

function weigh(unit: number): number {
  if (unit < 0x250 || (unit >= 0x1e00 && unit < 0x2070)) return latin // including accents and punctuation
  return unit >= 0x400 && unit < 0x530 ? cyrillic : other // also each half of a surrogate pair
}
