/**
 * Removes each block that starts with `start` from a text. In code, a block is a statement or an entry, with the
 * comments right above it. In Markdown, it is a line, or a heading with its section. Returns the text unchanged if no
 * line starts with `start`.
 */
export function cutBlock(file: string, text: string, start: string): string {
  const lines = text.split('\n')
  const findEnd = file.endsWith('.md') ? endOfSection : endOfStatement
  for (;;) {
    const first = lines.findIndex((_, at) => startsWith(lines, at, start))
    if (first < 0) return lines.join('\n')
    const from = file.endsWith('.md') ? first : startOfComment(lines, first)
    lines.splice(from, findEnd(lines, first) - from)
    if (lines[from]?.trim() === '' && (lines[from - 1] ?? '').trim() === '') lines.splice(from, 1)
  }
}

/** `start` may have several lines. They are compared without the indentation of the first. */
function startsWith(lines: string[], at: number, start: string): boolean {
  const count = start.split('\n').length
  return lines
    .slice(at, at + count)
    .join('\n')
    .trimStart()
    .startsWith(start)
}

const indent = (line = '') => line.length - line.trimStart().length
/** Not `# NAME=value`, which is a variable of .env.example. */
const isComment = (line = '') => /^\s*(\/\/|\/\*\*|\*|#(?! *[A-Z_]+=))/.test(line)

function startOfComment(lines: string[], first: number): number {
  let from = first
  while (isComment(lines[from - 1]) && Math.abs(indent(lines[from - 1]) - indent(lines[first])) <= 1) from -= 1
  return from
}

/** As the code is formatted, a statement ends where the indentation is back, after closing brackets. */
function endOfStatement(lines: string[], first: number): number {
  const depth = indent(lines[first])
  let end = first + 1
  for (;;) {
    let next = end
    while (next < lines.length && lines[next]?.trim() === '') next += 1
    const line = lines[next] ?? ''
    const isInside = line !== '' && indent(line) > depth
    const isClosing = indent(line) === depth && /^[)\]}]/.test(line.trimStart())
    if (!isInside && !isClosing) return end
    end = next + 1
  }
}

function endOfSection(lines: string[], first: number): number {
  const level = /^#+ /.exec(lines[first] ?? '')?.[0].length
  if (level === undefined) return first + 1
  let isCode = false
  for (let end = first + 1; end < lines.length; end += 1) {
    const line = lines[end] ?? ''
    if (line.startsWith('```')) isCode = !isCode
    const heading = /^#+ /.exec(line)?.[0].length
    if (!isCode && heading !== undefined && heading <= level) return end
  }
  return lines.length
}
