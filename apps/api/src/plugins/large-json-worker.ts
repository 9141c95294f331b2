import { isUtf8 } from 'node:buffer'
import { type MessagePort, parentPort } from 'node:worker_threads'
import type { Parsed, Problem, Task, Text } from './large-json.ts'

// Parses large bodies outside the event loop. Copying the result back costs the event loop little: it has few values,
// and most of its text comes in batches, each received in a turn of its own. On a slow virtual machine, the new memory
// alone costs 4 ms per MB.

const maxDepth = 500 // copying a value to the other thread is recursive, and there it has less stack
const maxValues = 10_000 // in the result: a conversation of a thousand tool calls
const maxCount = 500_000 // in the body: more would delay the next body by a quarter of a second
const maxTextBytes = 5_000_000 // in memory, of one string, which arrives in one turn: an image of 3.7 MB in base64
const maxShortText = 100 // UTF-16 units of a string that stays in the result: `maxValues` of them are 1 MB
const batchLength = 500_000 // UTF-16 units

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

/** V8 stores a string with two bytes per UTF-16 unit, unless all of it is Latin-1. */
function isTooLong(text: string): boolean {
  const { length } = text
  return length > maxTextBytes || (2 * length > maxTextBytes && /[^\0-\xff]/.test(text))
}

function findProblem(value: unknown): Problem | undefined {
  const waiting = [{ item: value, depth: 1 }]
  let count = 0
  for (let next = waiting.pop(); next; next = waiting.pop()) {
    const { item, depth } = next
    count += 1
    if (typeof item === 'string' && isTooLong(item)) return 'text_too_long'
    if (!isObject(item)) continue
    if (depth > maxDepth) return 'too_deep'
    if (isPoisoned(item)) return 'invalid_json'
    const items = Object.values(item)
    if (count + waiting.length + items.length > maxValues) return 'too_many_values'
    for (const inner of items) waiting.push({ item: inner, depth: depth + 1 })
  }
  return undefined
}

/** Takes the longer strings out of a value, and yields each with its place. */
function* takeTexts(value: Record<string, unknown>, path: string[] = []): Generator<Text> {
  for (const [key, item] of Object.entries(value)) {
    if (isObject(item)) yield* takeTexts(item, [...path, key])
    if (typeof item !== 'string' || item.length <= maxShortText) continue
    value[key] = ''
    yield { path: [...path, key], text: item }
  }
}

/** Sends texts in batches. Returns the number of batches. */
function sendTexts(texts: Iterable<Text>, port: MessagePort): number {
  let [count, length, batch]: [number, number, Text[]] = [0, 0, []]
  const send = () => {
    port.postMessage(batch)
    count += 1
    ;[length, batch] = [0, []]
  }
  for (const text of texts) {
    if (length > 0 && length + text.text.length > batchLength) send()
    batch.push(text)
    length += text.text.length
  }
  if (length > 0) send()
  return count
}

function parse(bytes: Uint8Array, lastOf: string | undefined, texts: MessagePort): Parsed {
  if (countValues(bytes, maxCount) > maxCount) return { problem: 'too_many_values' }
  if (!isUtf8(bytes)) return { problem: 'not_utf8' }
  try {
    const value: unknown = JSON.parse(new TextDecoder().decode(bytes))
    const list = lastOf !== undefined && isObject(value) ? value[lastOf] : undefined
    const whole = lastOf !== undefined && Array.isArray(list) ? { ...Object(value), [lastOf]: keepLast(list) } : value
    const problem = findProblem(whole)
    if (problem) return { problem }
    const root = { value: whole }
    return { root, batches: sendTexts(takeTexts(root), texts) }
  } catch {
    return { problem: 'invalid_json' } // a text that is nested too deeply is a RangeError
  }
}

/** Keeps the last element of a list, and the id of the one before. */
function keepLast(list: unknown[]): unknown[] {
  return [...list.slice(-2, -1).map((item) => (isObject(item) ? { id: item.id } : null)), ...list.slice(-1)]
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
  if ('last' in task)
    parentPort?.postMessage({ id: task.id, parsed: parse(Buffer.concat(chunks), task.lastOf, task.texts) })
})
