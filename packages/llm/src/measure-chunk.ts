import { isObject, parseJson } from './json.ts'
import { readPlainDelta } from './plain-delta.ts'

/** Returns how many UTF-8 bytes a chunk adds to an answer: text, reasoning, refusal and tool call arguments. */
export function measureChunk(json: string): number {
  const plain = readPlainDelta(json)
  if (plain) return Buffer.byteLength(plain)
  const chunk = parseJson(json)
  const choices: unknown[] = isObject(chunk) && Array.isArray(chunk.choices) ? chunk.choices : []
  return choices.reduce((sum: number, choice) => sum + (isObject(choice) ? measureDelta(choice.delta) : 0), 0)
}

function measureDelta(delta: unknown): number {
  if (!isObject(delta)) return 0
  const { role: _, ...said } = delta
  return measure(said)
}

function measure(value: unknown): number {
  if (typeof value === 'string') return Buffer.byteLength(value)
  if (!isObject(value)) return 0
  return Object.values(value).reduce((sum: number, part) => sum + measure(part), 0)
}
