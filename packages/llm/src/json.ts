/** Parses JSON. Returns undefined if it is malformed, because the error of `JSON.parse` would quote the vendor. */
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
