import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { createTestDatabase } from '@repo/db/testing'
import { startMockModel } from '@repo/testing/mock-model'
import { startApi } from '@repo/testing/processes'
import { post, readParts } from '@repo/testing/ui-stream'
import { afterAll, describe, expect, it } from 'vitest'
import { dashboard, queries, read, rules } from './testing.ts'

/** Returns the metrics in a PromQL expression, each with its label matchers. */
function readSelectors(text: string) {
  const selectors = text.matchAll(/\b((?:sluice|process)_\w+)(?:\{([^}]*)\})?/g)
  return [...selectors].map(([, name = '', labels = '']) => ({
    name,
    labels: [...labels.matchAll(/(\w+)(=~|!~|!=|=)"([^"]*)"/g)].map(([, label = '', operator, value = '']) => ({
      label,
      // Labels that Prometheus adds, and values that an idle API does not report yet, are checked by label name only.
      value: operator === '=' && ['le', 'state', 'quantile'].includes(label) ? value : undefined,
    })),
  }))
}

const prometheusLabels = ['instance', 'job']

describe('the rules and the dashboard', async () => {
  const test = await createTestDatabase()
  const mock = await startMockModel()
  const folder = mkdtempSync(join(tmpdir(), 'sluice-metrics-'))
  afterAll(async () => {
    rmSync(folder, { recursive: true })
    await mock.close()
    await test.drop()
  })
  const PRICES_FILE = join(folder, 'prices.json')
  writeFileSync(PRICES_FILE, '{"mock": {"input": 1, "output": 10}}')
  const { PGBOUNCER_ADMIN_URL = '' } = process.env
  const models = {
    OPENAI_BASE_URL: mock.url,
    CHAT_MODEL: 'mock',
    CHAT_MODELS: JSON.stringify([{ name: 'away', baseUrl: 'http://127.0.0.1:9/v1', fallback: 'mock' }]),
  }
  const api = await startApi({ DATABASE_URL: test.databaseUrl, PGBOUNCER_ADMIN_URL, PRICES_FILE, ...models })
  await Promise.all(
    Array.from({ length: 20 }, async () => readParts(await post(`${api.url}/chat`, {}, { message: 'When?' }))),
  )
  await post(`${api.url}/documents`, {}, { title: 'Office', text: 'It opens at nine.' })
  const metrics = await (await fetch(`${api.url}/metrics`)).text()
  const samples = metrics.split('\n').filter((line) => line !== '' && !line.startsWith('#'))

  const isReported = (name: string, label?: string, value?: string) =>
    samples.some(
      (line) =>
        line.split(/[{ ]/, 1)[0] === name &&
        (label === undefined || prometheusLabels.includes(label) || line.includes(`${label}="${value ?? ''}`)),
    )

  it.each([
    ['rules', rules, 12],
    ['dashboard', queries, 32],
  ])('%s use only metrics, labels and bucket boundaries that /metrics reports', (_, texts, atLeast) => {
    expect(texts.length).toBeGreaterThanOrEqual(atLeast)
    for (const text of texts) {
      const selectors = readSelectors(text)
      for (const { name, labels } of selectors) {
        expect(isReported(name), name).toBe(true)
        for (const { label, value } of labels)
          expect(isReported(name, label, value && `${value}"`), `${name}{${label}="${value}"}`).toBe(true)
      }
      if (!text.startsWith('absent(up')) expect(selectors.length, text).toBeGreaterThan(0)
    }
  })

  it('do not add up metrics of the one database that every replica reports', () => {
    const wrong = [...rules, ...queries].filter((text) => /sum[^(]*\((?:\w+\()?sluice_(?:pgbouncer|queue)_/.test(text))
    expect(wrong).toEqual([])
  })

  it('use all metrics of /metrics except those that only GET /live needs', () => {
    const reported = new Set([...metrics.matchAll(/^# TYPE (\w+)/gm)].map(([, name]) => name))
    const used = readSelectors([...rules, ...queries].join('\n')).map(({ name }) =>
      name.replace(/_(bucket|sum|count)$/, ''),
    )
    expect([...reported].filter((name) => !used.includes(name ?? '')).sort()).toEqual([
      'sluice_event_loop_delay_last_second_seconds',
      'sluice_event_loop_delay_seconds',
      'sluice_pool_in_use',
    ])
  })
})

it('each alert has a summary, an action and test data that makes it fire', () => {
  const names = [...read('alerts.yml').matchAll(/- alert: (\w+)/g)].map(([, name]) => name)
  expect(read('alerts.yml').match(/^ {10}summary: /gm)?.length).toBe(names.length)
  expect(read('alerts.yml').match(/^ {10}action: /gm)?.length).toBe(names.length)
  const fired = new Set([...read('alerts.test.yml').matchAll(/ALERTS\{alertname="(\w+)"/g)].map(([, name]) => name))
  expect([...fired].sort()).toEqual(names.toSorted())
})

describe('Grafana', () => {
  const compose = read('../../docker-compose.yml')
  const [, service = ''] = compose.match(/^ {2}grafana:\n((?: {4}.*\n)+)/m) ?? []
  const mounts = new Map(
    Array.from(service.matchAll(/- \.\/infra\/observability\/(\S+):(\/\S+):ro/g), ([, a, b]) => [a, b]),
  )

  it('finds its files where Compose puts them', () => {
    expect([...mounts.keys()].filter((file) => read(`${file}`) === '')).toEqual([])
    const [, folder] = read('grafana-dashboards.yml').match(/path: (\S+) /) ?? []
    expect(mounts.get('dashboard.json')).toBe(`${folder}/dashboard.json`)
    expect(service).toContain(`HOME_DASHBOARD_PATH: ${mounts.get('dashboard.json')}\n`)
    expect(mounts.get('grafana-dashboards.yml')).toMatch(/^\/etc\/grafana\/provisioning\/dashboards\//)
    expect(mounts.get('grafana-datasource.yml')).toMatch(/^\/etc\/grafana\/provisioning\/datasources\//)
  })

  it('reads from the Prometheus of Compose, which each panel uses', () => {
    const [, type, host] = read('grafana-datasource.yml').match(/type: (\w+), .*url: "http:\/\/(\w+):9090"/) ?? []
    expect(compose).toContain(`\n  ${host}:\n`)
    expect(dashboard.templating.list).toEqual([expect.objectContaining({ name: 'datasource', query: type })])
    for (const { title, datasource } of dashboard.panels) expect(datasource?.uid, title).toMatch(/^\$\{datasource\}$/)
  })

  it('has no overlapping panels, and no id twice', () => {
    const { panels } = dashboard
    expect(new Set(panels.map(({ id }) => id)).size).toBe(panels.length)
    const places = panels.map(({ gridPos: { x, y, w, h } }) => JSON.stringify([x % w, y % h, x / w, y / h]))
    expect(new Set(places).size).toBe(panels.length)
    expect(places.filter((place) => !place.startsWith('[0,0,'))).toEqual([])
  })
})
