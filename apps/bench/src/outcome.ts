import type { Run } from './run-once.ts'
import type { Scenario, Variant } from './scenarios.ts'

/** The runs of one variant in a scenario, and their combined values. */
export type Row = { variant: Variant; runs: Run[]; values: Run['values'] }

/** The results of a scenario. */
export type Outcome = { scenario: Scenario; rows: Row[] }
