import type { Run } from './run-once.ts'
import type { Scenario, Variant } from './scenarios.ts'

/** The runs of one variant in a scenario, and their combined values. `chunks` is the size of the corpus if it varies. */
export type Row = { variant: Variant; chunks?: number; runs: Run[]; values: Run['values'] }

/** The results of a scenario. */
export type Outcome = { scenario: Scenario; rows: Row[] }

/** Returns the title of a row: what varies in its scenario. */
export function nameRow({ variant, chunks }: Pick<Row, 'variant' | 'chunks'>): string {
  return chunks === undefined ? variant : `${chunks.toLocaleString('en')} chunks`
}
