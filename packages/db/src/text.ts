import type { Json } from './schema.ts'

/** Returns text that Postgres can store: U+0000 and lone surrogates become U+FFFD. */
export function toStorableText(text: string): string {
  return text.includes('\0') ? replaceNul(text).toWellFormed() : text.toWellFormed()
}

/**
 * Returns whether a text has any character that is not a space, a control character or invisible, such as U+200B. U+0000
 * counts, because it is stored as U+FFFD.
 */
export function hasVisibleText(text: string): boolean {
  return /\0|[^\s\p{Cc}\p{Cf}\p{DI}]/u.test(text)
}

const maxDepth = 100 // Postgres rejects JSON that is nested some thousand levels deep

/** Returns a value as JSON that Postgres can store. Throws a `RangeError` for one that is nested too deeply. */
export function toStorableJson(value: unknown, depth = 0): Json {
  if (depth > maxDepth) throw new RangeError('The JSON is nested too deeply.')
  if (typeof value === 'string') return toStorableText(value)
  if (typeof value === 'number') return Number.isFinite(value) ? value : null
  if (typeof value === 'boolean') return value
  if (Array.isArray(value)) return value.map((item) => toStorableJson(item, depth + 1))
  if (typeof value !== 'object' || value === null) return null
  if ('toJSON' in value && typeof value.toJSON === 'function') return toStorableJson(value.toJSON(), depth + 1)
  const entries = Object.entries(value).filter(([, item]) => item !== undefined)
  return Object.fromEntries(entries.map(([key, item]) => [toStorableText(key), toStorableJson(item, depth + 1)]))
}

/** `replaceAll` takes half a second for a million of them. */
function replaceNul(text: string): string {
  const units = new Uint16Array(text.length)
  for (let index = 0; index < text.length; index += 1) units[index] = text.charCodeAt(index) || 0xfffd
  return Buffer.from(units.buffer).toString('utf16le')
}

/** Returns whether cutting the text at `end` would divide a character of two UTF-16 units. */
export function endsInHighSurrogate(text: string, end = text.length): boolean {
  const code = text.charCodeAt(end - 1)
  return code >= 0xd800 && code <= 0xdbff
}

/** Returns a quoted SQL literal, where parameters are not allowed. Assumes `standard_conforming_strings`, the default. */
export function quoteLiteral(text: string): string {
  return `'${text.replaceAll("'", "''")}'`
}
