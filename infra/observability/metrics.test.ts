import { createTestDatabase } from '@repo/db/testing'
import { startApi } from '@repo/testing/processes'
import { post, readParts } from '@repo/testing/ui-stream'
import { afterAll, describe, expect, it } from 'vitest'
import { queries, read, rules } from './testing.ts'

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
  afterAll(test.drop)
  const { PGBOUNCER_ADMIN_URL = '' } = process.env
  const api = await startApi({ DATABASE_URL: test.databaseUrl, PGBOUNCER_ADMIN_URL })
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
    ['dashboard', queries, 25],
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
      'sluice_model_cached_tokens_total',
      'sluice_model_fallbacks_total', // without a series until a fallback has taken over
      'sluice_model_tokens_total',
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
