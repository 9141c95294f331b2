import { createHash } from 'node:crypto'

/** `at` is the token before which the fault occurs. Without it, the fault replaces the response. */
type Fault = { kind: string; at: number | undefined }

export type Settings = {
  tokens: number
  /** Time between two tokens in ms. 0 = as fast as the client reads. */
  interval: number
  /** Delay before the response starts, in ms. */
  delay: number
  /** Number of reasoning tokens before the answer. */
  reasoning: number
  /** Number of steps in which the model calls a tool before it answers, if a tool that accepts a `query` is offered. */
  calls: number
  /** Starts the answer with `@`, its due time in µs (see `toMachineTime`) and a space. */
  clock: boolean
  /** Before this token the answer waits until `release()` is called; before token 0, before the response begins. */
  hold: number | undefined
  retryAfter: string | undefined
  fault: Fault | undefined
}

const names = ['tokens', 'interval', 'delay', 'reasoning', 'calls', 'clock', 'hold', 'retry-after', 'fault']
const faults = /^(?:[45]\d\d|(?:hang|reset)(?:@\d+)?|(?:garbage|truncate|error|long)@\d+)$/

/**
 * Returns the settings of a request. They come from the model name, as in `mock?tokens=50&interval=20`, and from the
 * question, which takes precedence: `[mock tokens=50 interval=20 delay=0 reasoning=5 fault=reset@10]`. With
 * `calls=2`, the first two steps call a tool with the question as its `query`.
 *
 * Faults that replace the response: a status (`fault=429 retry-after=7`), `hang`, `reset`.
 * Faults before token N: `hang@N`, `reset@N`, `garbage@N`, `truncate@N`, `error@N`, `long@N` (a line of 2 MiB).
 * Throws if a setting is unknown or invalid.
 */
export function readSettings(model: string, prompt: string): Settings {
  const directive = prompt.match(/\[mock ([^\]]*)\]/)?.[1] ?? ''
  const values = new Map([
    ...new URLSearchParams(model.split('?')[1]),
    ...new URLSearchParams(directive.trim().replaceAll(/\s+/g, '&')),
  ])
  for (const name of values.keys()) if (!names.includes(name)) throw new Error(`unknown mock setting: ${name}`)
  const readNumber = (name: string, defaultValue: number) => {
    const value = Number(values.get(name) ?? defaultValue)
    if (!(value >= 0)) throw new Error(`mock setting ${name} must be a number >= 0`)
    return value
  }
  return {
    tokens: readNumber('tokens', 20),
    interval: readNumber('interval', 0),
    delay: readNumber('delay', 0),
    reasoning: readNumber('reasoning', 0),
    calls: readNumber('calls', 0),
    clock: readNumber('clock', 0) > 0,
    hold: values.has('hold') ? readNumber('hold', 0) : undefined,
    retryAfter: values.get('retry-after'),
    fault: readFault(values.get('fault')),
  }
}

function readFault(value: string | undefined): Fault | undefined {
  if (value === undefined) return undefined
  if (!faults.test(value)) throw new Error(`unknown mock fault: ${value}`)
  const [kind = '', at] = value.split('@')
  return { kind, at: at === undefined ? undefined : Number(at) }
}

/**
 * Returns the token at `index` of the answer to a prompt. It depends on the prompt only, so a client can check every
 * byte.
 */
export function mockToken(prompt: string, index: number): string {
  return seededToken(seedOf(prompt), index)
}

/** Like `mockToken`, but with a known seed, for callers that need one token after the other. */
export function seededToken(seed: string, index: number): string {
  return `${index === 0 ? '' : ' '}${seed}-${index}`
}

/** Returns the whole answer to a prompt. */
export function mockAnswer(prompt: string, tokens: number): string {
  const seed = seedOf(prompt)
  return Array.from({ length: tokens }, (_, index) => seededToken(seed, index)).join('')
}

const seeds = new Map<string, string>()

/** Returns the seed of the answer to a prompt. */
export function seedOf(prompt: string): string {
  const known = seeds.get(prompt)
  if (known) return known
  if (seeds.size > 10_000) seeds.clear()
  const seed = createHash('sha256').update(prompt).digest('hex').slice(0, 6)
  seeds.set(prompt, seed)
  return seed
}
