import { existsSync } from 'node:fs'

// node --import './infra/local/env.mjs?.env&.data/env': loads the named files that exist. Variables that are already
// set, also by an earlier file, stay. Node's `--env-file-if-exists` prints a line for each file that is missing.
for (const file of new URL(import.meta.url).search.slice(1).split('&')) {
  if (existsSync(file)) process.loadEnvFile(file)
}
