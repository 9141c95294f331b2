import { cpus, totalmem } from 'node:os'
import type { Outcome } from '../outcome.ts'
import { drawConnections, drawCosts, drawWaiting } from './pictures.ts'
import { tabulate } from './tabulate.ts'

const explanation = `<b>pooled</b> is the API as shipped. <b>floor</b> answers on <code>node:http</code> with SQL written by hand: vector
search, history and two writes. <b>drizzle</b> does the same with Fastify and Drizzle, as most people would write it.
<b>ai-sdk</b> has Sluice's search and streams with the AI SDK's <code>streamText</code>. <b>held</b> keeps its database connection while the model
responds. <b>blocking</b> computes on the event loop. <b>direct</b> is the shipped API without PgBouncer.`

/** Returns the report's files by name: a self-contained page, and one picture. */
export function createReport(outcomes: Outcome[]): Record<string, string> {
  const connections = drawConnections(outcomes)
  const pictures = [connections, drawWaiting(outcomes), drawCosts(outcomes)].filter((picture) => picture !== '')
  const page = `<!doctype html>
<html lang="en"><meta charset="utf-8"><meta name="viewport" content="width=device-width"><title>Sluice: bench</title>
<style>
:root{color-scheme:light dark}body{font:15px/1.5 system-ui,sans-serif;max-width:860px;margin:2rem auto;padding:0 1rem}
svg{max-width:100%;height:auto;margin:1rem 0}table{border-collapse:collapse;margin:.5rem 0}
th,td{text-align:right;padding:.1rem .7rem}th:first-child,td:first-child{text-align:left}thead{border-bottom:1px solid}
tbody tr:nth-child(even){background:color-mix(in srgb,currentColor 6%,transparent)}ul{list-style:none;padding:0}
</style>
<h1>Thousands of streams, twenty connections</h1>
<p>${explanation}</p>
<p>${describeMachine()}</p>
${pictures.join('\n')}
${outcomes.map(toSection).join('\n')}
</html>
`
  return { 'report.html': page, ...(connections && { 'connections.svg': connections }) }
}

/** Describes the machine on which the numbers were measured. */
function describeMachine(): string {
  const [cpu] = cpus()
  const memory = `${Math.round(totalmem() / 1024 ** 3)} GiB`
  const date = new Date().toISOString().slice(0, 10)
  return `${date}, ${cpus().length} cores (${escapeHtml(cpu?.model ?? 'unknown')}), ${memory}, Node ${process.version}`
}

function toSection(outcome: Outcome): string {
  const { header, lines, failures, goals } = tabulate(outcome)
  const toRow = (cells: string[], tag: string) => `<tr>${cells.map((cell) => `<${tag}>${cell}</${tag}>`).join('')}</tr>`
  const notes = [
    ...failures.map((failure) => escapeHtml(failure)),
    ...goals.map(({ text, isReached }) => `${isReached === undefined ? '?' : isReached ? '✓' : '✗'} ${text}`),
  ]
  return `<h2>${outcome.scenario.name}</h2><p>${outcome.scenario.title}</p>
<table><thead>${toRow(header, 'th')}</thead><tbody>${lines.map((line) => toRow(line, 'td')).join('')}</tbody></table>
<ul>${notes.map((note) => `<li>${note}</li>`).join('')}</ul>`
}

function escapeHtml(text: string): string {
  return text.replaceAll('&', '&amp;').replaceAll('<', '&lt;')
}
