/**
 * Matches the most common event of an answer: a piece of text without escapes, and fields without information. The
 * whole event must match, so no other event is mistaken for it. It saves a `JSON.parse` per token.
 */
const plainDelta =
  /^\{(?:"(?:id|object|model|system_fingerprint|service_tier|provider|created)":(?:"[^"\\]*"|\d+|null),)*"choices":\[\{(?:"index":0,)?"delta":\{(?:"role":"assistant",)?"content":"([^"\\]+)"\}(?:,"logprobs":null)?(?:,"finish_reason":null)?\}\](?:,"usage":null)?(?:,"obfuscation":"[^"\\]*")?\}$/

/** Returns the text of an event that contains nothing else, or undefined for any other event, which must be parsed. */
export function readPlainDelta(json: string): string | undefined {
  return plainDelta.exec(json)?.[1]
}
