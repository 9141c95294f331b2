import { createHash } from 'node:crypto'

/** A fault and the token before which it happens; without `at`, before the response begins. */
export type Fault = { kind: string; at: number | undefined }

export type Settings = {
  tokens: number
  /** Between two tokens, in ms; 0 = as fast as the reader reads. */
  interval: number
  /** Before the response begins, in ms. */
  delay: number
  /** Tokens of reasoning before the answer. */
  reasoning: number
  retryAfter: string | undefined
  fault: Fault | undefined
}

/**
 * What a question asks of the mock: `[mock tokens=50 interval=20 delay=0 reasoning=5 fault=reset@10]` in its text, over
 * `mock?tokens=50&interval=20` as the model's name.
 *
 * Faults before the response: a status (`fault=429 retry-after=7`), `hang`, `reset`.
 * Faults before token N: `hang@N`, `reset@N`, `garbage@N`, `truncate@N`, `error@N`, `long@N` (a line of 2 MB).
 */
export function readSettings(model: string, prompt: string): Settings {
  const fromModel = new URLSearchParams(model.split('?')[1])
  const fromPrompt = new URLSearchParams(
    prompt
      .match(/\[mock ([^\]]*)\]/)?.[1]
      ?.trim()
      .replaceAll(/\s+/g, '&'),
  )
  const read = (name: string) => fromPrompt.get(name) ?? fromModel.get(name) ?? undefined
  const [kind, at] = read('fault')?.split('@') ?? []
  return {
    tokens: Number(read('tokens') ?? 20),
    interval: Number(read('interval') ?? 0),
    delay: Number(read('delay') ?? 0),
    reasoning: Number(read('reasoning') ?? 0),
    retryAfter: read('retry-after'),
    fault: kind === undefined ? undefined : { kind, at: at === undefined ? undefined : Number(at) },
  }
}

/** The `index`th token of the answer to a prompt: whoever knows the prompt can check every byte. */
export function mockToken(prompt: string, index: number): string {
  return `${index === 0 ? '' : ' '}${seedOf(prompt)}-${index}`
}

/** The whole answer. */
export function mockAnswer(prompt: string, tokens: number): string {
  return Array.from({ length: tokens }, (_, index) => mockToken(prompt, index)).join('')
}

const seeds = new Map<string, string>()

function seedOf(prompt: string): string {
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
  return values.map((value) => value / length)
}
