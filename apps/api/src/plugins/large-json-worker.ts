import { parentPort } from 'node:worker_threads'
import type { Parsed, Problem, Task } from './large-json.ts'

// Parses large bodies outside the event loop. The result has few values, so copying it back costs the event loop
// little.

const maxDepth = 500 // copying a value to the other thread is recursive, and there it has less stack
const maxValues = 10_000 // in the result: a conversation of a thousand tool calls
const maxCount = 500_000 // in the body: more would delay the next body by a quarter of a second

const [quote, backslash, comma, openBracket, openBrace] = [...'"\\,[{'].map((character) => character.charCodeAt(0))

/** Returns the approximate number of values in a JSON text. Stops counting beyond `max`. */
function countValues(bytes: Uint8Array, max: number): number {
  let count = 1
  let isText = false
  for (let index = 0; index < bytes.length && count <= max; index += 1) {
    const byte = bytes[index]
    if (byte === quote) isText = !isText
    else if (isText) index += byte === backslash ? 1 : 0
    else if (byte === comma || byte === openBracket || byte === openBrace) count += 1
  }
  return count
}

function isObject(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null
}

/**
 * Returns whether an object has keys that could reach a prototype when it is copied. Fastify's own parser rejects them
 * too.
 */
function isPoisoned(value: Record<string, unknown>): boolean {
  if (Object.hasOwn(value, '__proto__')) return true
  return (
    Object.hasOwn(value, 'constructor') && isObject(value.constructor) && Object.hasOwn(value.constructor, 'prototype')
  )
}

function findProblem(value: unknown): Problem | undefined {
  const waiting = [{ item: value, depth: 1 }]
  let count = 0
  for (let next = waiting.pop(); next; next = waiting.pop()) {
    const { item, depth } = next
    count += 1
    if (!isObject(item)) continue
    if (depth > maxDepth) return 'too_deep'
    if (isPoisoned(item)) return 'invalid_json'
    const items = Object.values(item)
    if (count + waiting.length + items.length > maxValues) return 'too_many_values'
    for (const inner of items) waiting.push({ item: inner, depth: depth + 1 })
  }
  return undefined
}

function parse(bytes: Uint8Array, lastOf: string | undefined): Parsed {
  if (countValues(bytes, maxCount) > maxCount) return { problem: 'too_many_values' }
  try {
    const value: unknown = JSON.parse(new TextDecoder().decode(bytes))
    const list = lastOf !== undefined && isObject(value) ? value[lastOf] : undefined
    const whole = lastOf !== undefined && Array.isArray(list) ? { ...Object(value), [lastOf]: list.slice(-1) } : value
    const problem = findProblem(whole)
    return problem ? { problem } : { value: whole }
  } catch {
    return { problem: 'invalid_json' } // a text that is nested too deeply is a RangeError
  }
}

const arriving = new Map<number, Uint8Array[]>()

parentPort?.on('message', (task: Task) => {
  const chunks = arriving.get(task.id) ?? []
  if ('bytes' in task) {
    chunks.push(task.bytes)
    arriving.set(task.id, chunks)
    return
  }
  arriving.delete(task.id)
  if ('last' in task) parentPort?.postMessage({ id: task.id, parsed: parse(Buffer.concat(chunks), task.lastOf) })
})
