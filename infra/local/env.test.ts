import { execFileSync } from 'node:child_process'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, expect, it } from 'vitest'

const folder = mkdtempSync(join(tmpdir(), 'sluice-env-'))
afterAll(() => rmSync(folder, { recursive: true }))

/** Returns what a program sees of a file `.env`. */
function load(content: string | Buffer, env: Record<string, string> = {}): unknown {
  writeFileSync(join(folder, '.env'), content)
  const loader = `${join(import.meta.dirname, 'env.mjs')}?.env`
  const print = 'console.log(JSON.stringify([process.env.A, process.env.B]))'
  const args = ['--import', loader, '--input-type=module', '--eval', print]
  return JSON.parse(execFileSync(process.execPath, args, { cwd: folder, env, encoding: 'utf8' }))
}

it.each([
  ['plain', 'A=1\nB=two words\n'],
  ['CRLF', 'A=1\r\nB=two words\r\n'],
  ['a byte order mark', '\uFEFFA=1\nB=two words\n'],
  ['export', 'export A=1\nexport B="two words"\n'],
  ['quotes', `A='1'\nB="two words" # with a comment\n`],
  ['blanks', ' A = 1 \nB = two words\n'],
  ['UTF-16, as PowerShell writes it', Buffer.from('\uFEFFA=1\r\nB=two words\r\n', 'utf16le')],
])('reads a file with %s', (_, content) => {
  expect(load(content)).toEqual(['1', 'two words'])
})

it('keeps variables that are already set', () => {
  expect(load('A=1\nB=2', { A: '0' })).toEqual(['0', '2'])
})
