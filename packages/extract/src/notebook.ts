import { stripVTControlCharacters } from 'node:util'
import { DocumentError, type Extracted } from '@repo/rag/posted-file'
import { z } from 'zod'

const Text = z.union([z.string(), z.array(z.string()).transform((lines) => lines.join(''))])
const Output = z.object({
  text: Text.optional(), // of a stream
  data: z.object({ 'text/markdown': Text.optional(), 'text/plain': Text.optional() }).optional(),
  ename: z.string().optional(),
  evalue: z.string().optional(),
})
const Cell = z.object({ cell_type: z.string(), source: Text, outputs: z.array(Output).default([]) })
/** The format of Jupyter 4, which is since 2015 the only one: https://nbformat.readthedocs.io. */
const Notebook = z.object({
  cells: z.array(Cell),
  metadata: z.object({ language_info: z.object({ name: z.string() }).optional() }).optional(),
})

/**
 * Returns the cells of a Jupyter notebook as Markdown: code in fences, followed by its text output. Images and traces
 * are left out. Throws `DocumentError` for JSON that is not a notebook.
 */
export function extractNotebook(bytes: Buffer): Extracted {
  const { cells, metadata } = parseNotebook(bytes)
  const language = metadata?.language_info?.name ?? ''
  const parts = cells.flatMap(({ cell_type: type, source, outputs }) =>
    type === 'code' ? [fence(source, language), ...outputs.map(readOutput)] : [source],
  )
  return { text: parts.filter((part) => part.trim()).join('\n\n') }
}

function parseNotebook(bytes: Buffer): z.output<typeof Notebook> {
  try {
    return Notebook.parse(JSON.parse(new TextDecoder('utf-8', { fatal: true }).decode(bytes)))
  } catch {
    throw new DocumentError('This is not a Jupyter notebook of format 4. Open it in Jupyter and save it again.')
  }
}

function readOutput({ text, data, ename, evalue }: z.output<typeof Output>): string {
  if (data?.['text/markdown']) return data['text/markdown']
  const error = ename && `${ename}: ${evalue}`
  return fence(stripVTControlCharacters(text ?? data?.['text/plain'] ?? error ?? ''))
}

/** The fence is longer than any in the code. */
function fence(code: string, language = ''): string {
  const longest = (code.match(/`{3,}/g) ?? []).reduce((length, { length: next }) => Math.max(length, next), 2)
  const marks = '`'.repeat(longest + 1)
  return code.trim() ? `${marks}${language}\n${code.trimEnd()}\n${marks}` : ''
}
