import { execFile } from 'node:child_process'
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { promisify } from 'node:util'
import { expect } from 'vitest'

export const root = join(import.meta.dirname, '..')
export const execute = promisify(execFile)
export const isFull = process.env.SLUICE_FULL !== undefined
export const whyNotFull = 'takes minutes: npm test -- --full'

export const read = (file: string) => readFileSync(join(root, file), 'utf8')

/** Returns the text below a heading of docs/deployment.md or docs/operations.md. Throws if neither has that heading. */
export function readSection(heading: string): string {
  const pages = read('docs/deployment.md') + read('docs/operations.md').replace(/^# /, '## ')
  const [, section] = pages.split(`\n## ${heading}\n`)
  if (section === undefined)
    throw new Error(`neither docs/deployment.md nor docs/operations.md has a section ${heading}`)
  return section.split('\n## ')[0] ?? ''
}

/** Returns the first code block of a language in a page. */
export function readBlock(page: string, language: string): string {
  return page.match(new RegExp(`^\`\`\`${language}\\n(.*?)^\`\`\``, 'ms'))?.[1] ?? ''
}

/** Returns the commands of a page's `sh` blocks. */
export function readCommands(page: string): string[] {
  return [...page.matchAll(/^```sh\n(.*?)^```/gms)].flatMap(([, block = '']) => block.trim().split('\n'))
}

/** Returns the text of a streamed answer, or the body of any other response. */
function readAnswer(body: string): string {
  const deltas = [...body.matchAll(/^data: (\{.*"type":"text-delta".*\})$/gm)].map(
    ([, part = '']) => JSON.parse(part).delta,
  )
  return deltas.length > 0 ? deltas.join('') : body
}

/** Runs the `curl` lines of the README, then those of docs/clients.md, on another port. Waits until a posted document is ready. */
export async function askAsTheReadmeDoes(port: number): Promise<string[]> {
  const commands = readCommands(read('README.md') + read('docs/clients.md'))
  const answers: string[] = []
  for (const command of commands.filter((line) => line.startsWith('curl '))) {
    const { stdout } = await execute('sh', ['-c', `${command.replaceAll('localhost:3000', `localhost:${port}`)} -sS`])
    answers.push(readAnswer(stdout))
    if (command.includes('/documents')) await untilReady(`http://localhost:${port}/documents/${JSON.parse(stdout).id}`)
  }
  return answers
}

async function untilReady(url: string): Promise<void> {
  const read = async () => JSON.parse(await (await fetch(url)).text()).status
  await expect.poll(read).toBe('ready')
}

export function expectReadmeAnswers([pgbouncer, document, office, completion]: string[]): void {
  expect(pgbouncer).toContain(readShownAnswer())
  expect(pgbouncer).toMatch(/\[\d\]/)
  expect(JSON.parse(document ?? '')).toMatchObject({ title: 'Office', status: 'queued' })
  expect(office).toMatch(/The office opens at nine\..*\[\d\]/s)
  expect(completion).toMatch(/"citations":\[\{.*"content":" nine\.".*"finish_reason":"stop".*data: \[DONE\]/s)
}

/** Returns the answer that the README shows, without citation numbers, which depend on the other search results. */
function readShownAnswer(): string {
  const readme = read('README.md')
  return readme.match(/^> (.*?) \[\d\]$/m)?.[1] ?? 'no answer is shown'
}
