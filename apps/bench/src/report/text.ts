import type { Outcome } from '../outcome.ts'
import { tabulate } from './tabulate.ts'

/** Formats an outcome for the terminal. */
export function formatOutcome(outcome: Outcome): string {
  const { header, lines, failures, goals } = tabulate(outcome)
  const table = [header, ...lines]
  const widths = header.map((_, column) => Math.max(...table.map((line) => line[column]?.length ?? 0)))
  const align = (cells: string[]) =>
    cells.map((cell, column) => (column === 0 ? cell.padEnd(widths[0] ?? 0) : cell.padStart((widths[column] ?? 0) + 2)))
  return [
    '',
    `${outcome.scenario.name}: ${outcome.scenario.title}`,
    ...table.map((line) => `  ${align(line).join('')}`.trimEnd()),
    ...failures.map((failure) => `  failed  ${failure}`),
    ...goals.map(({ text, isReached }) => `  ${describe(isReached).padEnd(8)}${text}`),
  ].join('\n')
}

function describe(isReached: boolean | undefined): string {
  if (isReached === undefined) return '?'
  return isReached ? 'reached' : 'missed'
}
