#!/usr/bin/env node
import { writeFileSync } from 'node:fs'
import { judge } from './judge.ts'
import { measure } from './measure.ts'
import { readOptions } from './options.ts'
import { createPage, formatReport } from './report.ts'

// npm run prove, or npx prove-streams. README.md describes it.

const stopping = new AbortController()
for (const name of ['SIGINT', 'SIGTERM'] as const) process.once(name, () => stopping.abort())

/** Returns the exit code: 0 independent, 1 depends on streams, 2 could not tell. */
async function main(args: string[]): Promise<number> {
  const options = readOptions(args)
  if (!options) return 0
  const measured = await measure(options, stopping.signal, console.error)
  const verdict = judge(measured)
  writeFileSync(options.report, createPage(measured, verdict, options))
  console.log(`${formatReport(measured, verdict, options)}\nReport: ${options.report}`)
  return verdict.code
}

main(process.argv.slice(2)).then(
  (code) => process.exit(code),
  (error) => {
    console.error(stopping.signal.aborted ? 'Stopped. All streams are closed.' : `${error.message || error.code}`)
    process.exit(stopping.signal.aborted ? 130 : 2)
  },
)
