const sectionLength = 16_000 // UTF-16 units; parsing takes some ms

/**
 * Splits long Markdown into sections that are parsed one by one, because the time for a text grows with the square of its
 * length. A section ends at a blank line outside of code, before a line that does not continue a list, quote or table.
 */
export function splitSections(text: string): string[] {
  const sections: string[] = []
  let [start, fence] = [0, '']
  for (const { index, 0: found, 1: mark } of text.matchAll(/^ {0,3}(`{3,}|~{3,})|\n[ \t]*\n(?=[^\s>|*+\-\d])/gm)) {
    if (mark && !fence) fence = mark
    else if (mark?.startsWith(fence)) fence = ''
    else if (!mark && !fence && index - start >= sectionLength) {
      const end = index + found.length
      sections.push(text.slice(start, end))
      start = end
    }
  }
  return [...sections, text.slice(start)]
}
