/**
 * The one event that is nearly all of an answer: a piece of text without escapes, and fields that say nothing. It is matched
 * to its last character, so that no other event is taken for it; `JSON.parse` of each stood out in a profile.
 */
const plainDelta =
  /^\{(?:"(?:id|object|model|system_fingerprint|service_tier|provider|created)":(?:"[^"\\]*"|\d+|null),)*"choices":\[\{(?:"index":0,)?"delta":\{(?:"role":"assistant",)?"content":"([^"\\]+)"\}(?:,"logprobs":null)?(?:,"finish_reason":null)?\}\](?:,"usage":null)?(?:,"obfuscation":"[^"\\]*")?\}$/

/** Returns the text of an event that says nothing else; undefined for any other, which has to be parsed. */
export function readPlainDelta(json: string): string | undefined {
  return plainDelta.exec(json)?.[1]
}
