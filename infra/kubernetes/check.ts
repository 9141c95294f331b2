import { buildOverlay, findBuilder, overlays, readFiles, whyNoBuilder } from './build.ts'
import { readFacts } from './facts.ts'
import { sortObjects } from './objects.ts'
import { rules } from './rules.ts'
import { validate } from './schemas.ts'

// `npm run manifests`, part of `npm run check`: each file by its schema, and each overlay by its schemas and rules. The
// tests do the same with what a running API reports, and break each rule once.

const facts = readFacts()

function checkOverlay(builder: string[], overlay: string): string[] {
  const objects = buildOverlay(builder, overlay)
  const manifests = sortObjects(objects)
  const broken = Object.entries(rules).flatMap(([sentence, rule]) =>
    rule(manifests, facts).map((problem) => `${problem} (${sentence})`),
  )
  return [...objects.flatMap((object) => validate(object) ?? []), ...broken].map((problem) => `${overlay}: ${problem}`)
}

const builder = findBuilder()
if (!builder) console.warn(`The overlays are not checked: ${whyNoBuilder}.`)
const problems = [
  ...readFiles().flatMap(([path, objects]) =>
    objects.flatMap((object) => validate(object) ?? []).map((problem) => `${path}: ${problem}`),
  ),
  ...(builder ? overlays.flatMap((overlay) => checkOverlay(builder, overlay)) : []),
]
for (const problem of problems) console.error(problem)
if (problems.length > 0) process.exitCode = 1
