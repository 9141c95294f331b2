/** Returns text that Postgres can store: U+0000 and lone surrogates become U+FFFD. */
export function toStorableText(text: string): string {
  return text.includes('\0') ? replaceNul(text).toWellFormed() : text.toWellFormed()
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
