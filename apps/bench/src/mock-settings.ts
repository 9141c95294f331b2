import { createHash } from 'node:crypto'

/** A fault and the token before which it happens; without `at`, it happens in place of the response. */
type Fault = { kind: string; at: number | undefined }

export type Settings = {
  tokens: number
  /** Between two tokens, in ms; 0 = as fast as the reader reads. */
  interval: number
  /** Before the response begins, in ms. */
  delay: number
  /** Tokens of reasoning before the answer. */
  reasoning: number
  /** The answer begins with `@`, the time at which it was due in µs (see `toMachineTime`), and a space. */
  clock: boolean
  /** Before this token the answer waits until `release()` is called; before token 0, before the response begins. */
  hold: number | undefined
  retryAfter: string | undefined
  fault: Fault | undefined
}

const names = ['tokens', 'interval', 'delay', 'reasoning', 'clock', 'hold', 'retry-after', 'fault']
const faults = /^(?:[45]\d\d|(?:hang|reset)(?:@\d+)?|(?:garbage|truncate|error|long)@\d+)$/

/**
 * What a question asks of the mock: `[mock tokens=50 interval=20 delay=0 reasoning=5 fault=reset@10]` in its text, over
 * `mock?tokens=50&interval=20` as the model's name.
 *
 * Faults in place of the response: a status (`fault=429 retry-after=7`), `hang`, `reset`.
 * Faults before token N: `hang@N`, `reset@N`, `garbage@N`, `truncate@N`, `error@N`, `long@N` (a line of 2 MiB).
 * Throws when it is asked for anything else.
 */
export function readSettings(model: string, prompt: string): Settings {
  const directive = prompt.match(/\[mock ([^\]]*)\]/)?.[1] ?? ''
  const asked = new Map([
    ...new URLSearchParams(model.split('?')[1]),
    ...new URLSearchParams(directive.trim().replaceAll(/\s+/g, '&')),
  ])
  for (const name of asked.keys()) if (!names.includes(name)) throw new Error(`the mock has no setting ${name}`)
  const readNumber = (name: string, unset: number) => {
    const value = Number(asked.get(name) ?? unset)
    if (!(value >= 0)) throw new Error(`the mock's ${name} is a number from 0 on`)
    return value
  }
  return {
    tokens: readNumber('tokens', 20),
    interval: readNumber('interval', 0),
    delay: readNumber('delay', 0),
    reasoning: readNumber('reasoning', 0),
    clock: readNumber('clock', 0) > 0,
    hold: asked.has('hold') ? readNumber('hold', 0) : undefined,
    retryAfter: asked.get('retry-after'),
    fault: readFault(asked.get('fault')),
  }
}

function readFault(value: string | undefined): Fault | undefined {
  if (value === undefined) return undefined
  if (!faults.test(value)) throw new Error(`the mock has no fault ${value}`)
  const [kind = '', at] = value.split('@')
  return { kind, at: at === undefined ? undefined : Number(at) }
}

/** The `index`th token of the answer to a prompt: whoever knows the prompt can check every byte. */
export function mockToken(prompt: string, index: number): string {
  return seededToken(seedOf(prompt), index)
}

/** The same, for who asks for token after token. */
export function seededToken(seed: string, index: number): string {
  return `${index === 0 ? '' : ' '}${seed}-${index}`
}

/** The whole answer. */
export function mockAnswer(prompt: string, tokens: number): string {
  const seed = seedOf(prompt)
  return Array.from({ length: tokens }, (_, index) => seededToken(seed, index)).join('')
}

const seeds = new Map<string, string>()

/** What the words of the answer to a prompt are made of. */
export function seedOf(prompt: string): string {
  const known = seeds.get(prompt)
  if (known) return known
  if (seeds.size > 10_000) seeds.clear()
  const seed = createHash('sha256').update(prompt).digest('hex').slice(0, 6)
  seeds.set(prompt, seed)
  return seed
}

/** A unit vector made from the text: the same for the same text. */
export function mockEmbedding(text: string, dimensions: number): number[] {
  const bytes = createHash('sha256').update(text).digest()
  const values = Array.from({ length: dimensions }, (_, index) => Math.sin((bytes[index % 32] ?? 0) * (index + 1)))
  const length = Math.hypot(...values) || 1
  return values.map((value) => Math.round((value / length) * 1e6) / 1e6)
}
