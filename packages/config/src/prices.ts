import { readFileSync } from 'node:fs'
import { z } from 'zod'
import { ConfigError } from './config-error.ts'

const usd = z.number('must be a number of US dollars').min(0, 'must be at least 0')
const Price = z.strictObject({
  input: usd,
  /** Default: the price of other input. */
  cachedInput: usd.optional(),
  output: usd.default(0),
})
const Prices = z.record(z.string(), Price)

/** What a model costs: US dollars per million tokens. */
type Price = z.output<typeof Price>
/** By the name of the model that clients send. */
export type Prices = Record<string, Price>

type Tokens = { model: string; inputTokens: number; cachedTokens: number; outputTokens: number }

/** Returns the prices of `PRICES_FILE`, or none. Throws `ConfigError`. */
export function readPrices({ PRICES_FILE: path }: Record<string, string | undefined>): Prices {
  if (path === undefined) return {}
  const { data, error } = Prices.safeParse(parseJson(readFile(path), path))
  if (data) return data
  const [issue] = error.issues
  const place = (issue?.path ?? []).map((key) => `.${String(key)}`).join('')
  throw new ConfigError([`${path}${place} ${describeIssue(issue)}`])
}

/** Returns the cost of tokens in US dollars, or undefined for a model without a price. */
export function computeCost(prices: Prices, { model, inputTokens, cachedTokens, outputTokens }: Tokens) {
  const price = Object.hasOwn(prices, model) ? prices[model] : undefined
  if (!price) return undefined
  const { input, cachedInput = input, output } = price
  const uncached = Math.max(0, inputTokens - cachedTokens)
  return (uncached * input + cachedTokens * cachedInput + outputTokens * output) / 1_000_000
}

function readFile(path: string): string {
  try {
    return readFileSync(path, 'utf8').replace(/^\uFEFF/, '')
  } catch {
    throw new ConfigError(['PRICES_FILE must be the path of a readable JSON file'])
  }
}

function parseJson(json: string, path: string): unknown {
  try {
    return JSON.parse(json)
  } catch {
    throw new ConfigError([`${path} must be valid JSON like ${example}`])
  }
}

const example = '{"gpt-5-mini": {"input": 0.25, "cachedInput": 0.025, "output": 2}}'

function describeIssue(issue: z.core.$ZodIssue | undefined): string {
  if (issue?.code === 'unrecognized_keys')
    return `has the unknown key ${issue.keys.join(', ')}. Use ${Object.keys(Price.shape).join(', ')}`
  if (issue?.code === 'invalid_type' && issue.expected !== 'number') return `must be an object like ${example}`
  return issue?.message ?? 'is invalid'
}
