import { describe, expect, it } from 'vitest'
import { extractNotebook } from './notebook.ts'

const read = (notebook: object | string) =>
  extractNotebook(Buffer.from(typeof notebook === 'string' ? notebook : JSON.stringify(notebook))).text
const code = (source: string | string[], ...outputs: object[]) => ({ cell_type: 'code', source, outputs })

describe('a notebook', () => {
  it('returns text, code and text output', () => {
    const plot = { output_type: 'display_data', data: { 'image/png': 'iVBORw0KGgo=', 'text/plain': ['<Figure>'] } }
    const notebook = {
      nbformat: 4,
      metadata: { language_info: { name: 'python' } },
      cells: [
        { cell_type: 'markdown', source: ['# Tides\n', 'They turn.'], attachments: {} },
        code(['a = 1\n', 'print(a)\n'], { output_type: 'stream', name: 'stdout', text: ['\u001b[31m1\u001b[0m\n'] }),
        code(
          'df',
          { output_type: 'execute_result', data: { 'text/html': '<b>1</b>', 'text/plain': '   a\n0  1' } },
          plot,
        ),
        code('b', { output_type: 'error', ename: 'NameError', evalue: "'b'", traceback: ['\u001b[0;31m...'] }),
        code(''),
      ],
    }
    expect(read(notebook)).toBe(
      [
        '# Tides\nThey turn.',
        '```python\na = 1\nprint(a)\n```',
        '```\n1\n```',
        '```python\ndf\n```',
        '```\n   a\n0  1\n```',
        '```\n<Figure>\n```',
        '```python\nb\n```',
        "```\nNameError: 'b'\n```",
      ].join('\n\n'),
    )
  })

  it('puts code that contains a fence into a longer one', () => {
    expect(read({ cells: [code('"""\n```\n"""')] })).toBe('````\n"""\n```\n"""\n````')
  })

  it.each([
    ['is not JSON', '{"cells": ['],
    ['has no cells', '{"nbformat": 4}'],
    ['is of format 3', '{"nbformat": 3, "worksheets": [{"cells": []}]}'],
    ['has cells without a source', '{"cells": [{"cell_type": "code"}]}'],
  ])('that %s is rejected', (_, text) => {
    expect(() => read(text)).toThrow(/^This is not a Jupyter notebook of format 4\./)
  })
})
