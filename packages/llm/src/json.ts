/** JSON to a value, or undefined where it is malformed: `JSON.parse` would throw an error that quotes the vendor. */
export function parseJson(text: string): unknown {
  try {
    return JSON.parse(text)
  } catch {
    return undefined
  }
}

export function isObject(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null
}
