import { readFileSync } from 'node:fs'
import { expect, it } from 'vitest'
import type { Measurements } from './model.ts'
import { replaceTables, toTables } from './tables.ts'

const read = (path: string) => readFileSync(new URL(`../../../../${path}`, import.meta.url), 'utf8')
const measurements: Measurements = JSON.parse(read('apps/bench/capacity.json'))

it('docs/capacity.md contains the tables that follow from apps/bench/capacity.json', () => {
  const page = read('docs/capacity.md')
  expect(replaceTables(page, toTables(measurements)), 'run the command in docs/capacity.md with --from').toBe(page)
})

it('contain the size of each deployment, and whether each prediction reached its goal', () => {
  const tables = toTables(measurements)
  for (const title of ['API replicas', 'PgBouncers', 'server connections', 'Postgres cores', 'Postgres memory, GB'])
    expect(tables).toMatch(new RegExp(`^\\| ${title} +(\\| [\\d,.]+ +){4}\\| .*\\w`, 'm'))
  const [check] = measurements.checks
  if (!check) throw new Error('There is no check.')
  const slower = { ...check, run: { ...check.run, cost: { ...check.run.cost, api: check.run.cost.api * 2 } } }
  const missed = /\| cores of the API +\|.*\| missed +\|/
  expect(toTables({ ...measurements, checks: [slower] })).toMatch(missed)
})

it('replaces only what is between the marks of a page, and says if they are missing', () => {
  const page = 'a\n<!-- tables: npm run bench -- --capacity -->\nold\n<!-- end of tables -->\nb\n'
  expect(replaceTables(page, 'new')).toBe(page.replace('\nold\n', '\n\nnew\n\n'))
  expect(() => replaceTables('a', 'new')).toThrow('The page needs the lines "<!-- tables')
})
