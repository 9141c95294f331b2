/** Text as Postgres can hold it: U+0000 and lone surrogates become U+FFFD. */
export function toStorableText(text: string): string {
  return text.toWellFormed().replaceAll('\0', '\uFFFD')
}
