import { expect, it } from 'vitest'
import { chooseScenarios } from './choose-scenarios.ts'
import { readOptions } from './options.ts'

function choose(...args: string[]) {
  const options = readOptions(args)
  if (!options) throw new Error('These arguments only print help.')
  return chooseScenarios(options)
}

const listSizes = (...args: string[]) => choose(...args).find(({ name }) => name === 'search')?.sizes

it('compares searches of two sizes, of three if they were selected, or of the given size', () => {
  expect(listSizes()).toEqual([1000, 10_000])
  expect(listSizes('--quick')).toEqual([1000, 10_000])
  expect(listSizes('--only', 'search')).toEqual([1000, 10_000, 100_000])
  expect(listSizes('--only', 'search', '--chunks', '500')).toEqual([500])
  expect(listSizes('--only', 'search', '--live')).toBeUndefined()
})

it('--quick runs the scenarios with a smaller version', () => {
  expect(choose('--quick').map(({ name }) => name)).toEqual(['streams', 'tokens-200', 'chat', 'search'])
  expect(choose('--quick', '--only', 'chat')).toMatchObject([
    { variants: ['floor', 'drizzle', 'pooled'], warmUpSeconds: 3 },
  ])
})

it('runs only the given variants, and changes the load', () => {
  const [scenario] = choose('--only', 'chat', '--variants', 'drizzle', '--seconds', '2')
  expect(scenario).toMatchObject({ variants: ['drizzle'], load: { seconds: 2, tokens: 1 } })
})
