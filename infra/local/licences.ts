import { readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'

const packageFolder = /^.*node_modules\/(?:@[^/]+\/)?[^/]+/
const licenceFile = /^(?:licen[cs]e|copying|notice)/i

/**
 * Returns the licences of the packages that these files belong to, because most licences require a copy beside bundled
 * code. Paths are relative to `root`.
 */
export function listLicences(root: string, files: string[]): Buffer {
  const folders = new Set(files.flatMap((file) => file.match(packageFolder) ?? []))
  return Buffer.from(
    [...folders]
      .sort()
      .map((folder) => describe(join(root, folder)))
      .join('\n'),
  )
}

function describe(folder: string): string {
  const { name, version, license } = JSON.parse(readFileSync(join(folder, 'package.json'), 'utf8'))
  const texts = readdirSync(folder, { withFileTypes: true })
    .filter((file) => file.isFile() && licenceFile.test(file.name))
    .map((file) => readFileSync(join(folder, file.name), 'utf8').trim())
  return [`${name} ${version} (${license})`, ...texts, ''].join('\n\n')
}
