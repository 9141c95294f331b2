import { join } from 'node:path'
import { beforeEach, describe, expect, it } from 'vitest'
import { parse, stringify } from 'yaml'
import { testApp } from '../../apps/api/src/testing.ts'
import { read } from '../testing.ts'
import { buildOverlay, findBuilder, overlays, readFiles, whyNoBuilder } from './build.ts'
import { readFacts } from './facts.ts'
import { sortObjects } from './objects.ts'
import { rules } from './rules.ts'
import { validate } from './schemas.ts'
import { breaks, set } from './testing-breaks.ts'

const builder = findBuilder()
const built = new Map(builder && overlays.map((overlay) => [overlay, buildOverlay(builder, overlay)]))
const facts = readFacts(await askApp())

/** Returns the routes and metrics of a running API. */
async function askApp() {
  const { PGBOUNCER_ADMIN_URL = '' } = process.env
  const { app, alice, close } = await testApp({ environment: { PGBOUNCER_ADMIN_URL } })
  const { paths }: { paths: object } = (await app.inject('/openapi.json')).json()
  const { payload } = await app.inject({ url: '/metrics', headers: alice })
  await close()
  const names = [...payload.matchAll(/^# TYPE (\w+)/gm)].map(([, name = '']) => name)
  const metrics = names.flatMap((name) => [name, `${name}_bucket`, `${name}_sum`, `${name}_count`])
  return { paths: Object.keys(paths), metrics }
}

/** Returns the objects of an overlay for a test to change. */
const copy = (overlay = 'production') => sortObjects(structuredClone(built.get(overlay) ?? []))

describe('the files', () => {
  const files = readFiles()

  it.each(files)('%s has the fields that its schemas know', (_, objects) => {
    expect(objects.map(validate).filter(Boolean)).toEqual([])
  })

  it.each([
    [
      'a mistyped field of a core type',
      'Deployment',
      (object: object) => set(Object(object).spec, { revisionHistorylimit: 1 }),
    ],
    [
      'a wrong type in a core type',
      'Deployment',
      (object: object) => set(Object(object).spec, { minReadySeconds: '10 s' }),
    ],
    [
      'a mistyped field of an operator’s type',
      'Pooler',
      (object: object) => set(Object(object).spec.pgbouncer, { poolmode: 'session' }),
    ],
    [
      'a number where the operator expects text',
      'Pooler',
      (object: object) => set(Object(object).spec.pgbouncer.parameters, { default_pool_size: 20 }),
    ],
    ['a kind without a schema', 'Service', (object: object) => set(object, { kind: 'Servcie' })],
  ])('rejects %s', (_, kind, spoil) => {
    const object = structuredClone(files.flatMap(([, objects]) => objects).find((candidate) => candidate.kind === kind))
    if (!object) throw new Error(`there is no ${kind}`)
    spoil(object)
    expect(validate(object)).toContain(object.metadata.name)
  })
})

it('the alerts are those of Compose (update them with -u)', async () => {
  const rule = { apiVersion: 'monitoring.coreos.com/v1', kind: 'PrometheusRule', metadata: { name: 'api' } }
  const text = stringify({ ...rule, spec: parse(read('infra/observability/alerts.yml')) }, { lineWidth: 0 })
  const head = '# From infra/observability/alerts.yml: npm test -- infra/kubernetes -u\n'
  await expect(head + text).toMatchFileSnapshot(join(import.meta.dirname, 'components/monitoring/rules.yaml'))
})

describe('the overlays', () => {
  beforeEach(({ skip }) => skip(builder === undefined, whyNoBuilder))

  it('are local, production, restored and external', () => {
    expect(overlays).toEqual(['external', 'local', 'production', 'restored'])
  })

  it.each(overlays)('%s has the fields that its schemas know', (overlay) => {
    expect(built.get(overlay)?.length).toBeGreaterThan(12)
    expect(built.get(overlay)?.map(validate).filter(Boolean)).toEqual([])
  })

  it.each(Object.entries(rules))('%s', (sentence, rule) => {
    for (const overlay of overlays) expect(rule(copy(overlay), facts), overlay).toEqual([])
    const broken = breaks[sentence] ?? []
    const { overlay, by } = Array.isArray(broken) ? { overlay: 'production', by: broken } : broken
    expect(by.length, 'ways to break it').toBeGreaterThan(0)
    for (const spoil of by) {
      const manifests = copy(overlay)
      spoil(manifests)
      expect(rule(manifests, facts), String(spoil)).not.toEqual([])
    }
  })
})
