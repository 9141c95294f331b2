import { existsSync, readFileSync } from 'node:fs'
import { parseEnv } from 'node:util'

// node --import './infra/local/env.mjs?.env&.data/env': loads the named files that exist. Variables that are already
// set, also by an earlier file, stay. Node's own loader prints a line for each file that is missing, and reads no name
// after a byte order mark, which Windows' editors write, and no UTF-16, which its shell writes.
for (const file of new URL(import.meta.url).search.slice(1).split('&')) {
  if (!existsSync(file)) continue
  const bytes = readFileSync(file)
  const isUtf16 = bytes[0] === 0xff && bytes[1] === 0xfe
  const values = parseEnv(new TextDecoder(isUtf16 ? 'utf-16le' : 'utf-8').decode(bytes)) // without the mark
  for (const [name, value] of Object.entries(values)) process.env[name] ??= value
}
