import { readFileSync } from 'node:fs'
import { join } from 'node:path'

export const read = (file: string) => readFileSync(join(import.meta.dirname, file), 'utf8')

/** The PromQL expressions of the alerts. */
export const rules = [...read('alerts.yml').matchAll(/expr: (?:>-\n)?([\s\S]*?)\n +(?:for|annotations):/g)].map(
  ([, rule = '']) => rule,
)

type Panel = {
  id: number
  title: string
  datasource: { uid: string }
  gridPos: Record<'x' | 'y' | 'w' | 'h', number>
  targets: { expr: string }[]
}

export const dashboard: { templating: { list: object[] }; panels: Panel[] } = JSON.parse(read('dashboard.json'))

/** The PromQL expressions of the dashboard's panels. */
export const queries = dashboard.panels.flatMap(({ targets }) => targets.map(({ expr }) => expr))
