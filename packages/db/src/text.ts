/** Returns text that Postgres can store: U+0000 and lone surrogates become U+FFFD. */
export function toStorableText(text: string): string {
  return text.toWellFormed().replaceAll('\0', '\uFFFD')
}
