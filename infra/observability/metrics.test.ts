import { createTestDatabase } from '@repo/db/testing'
import { startApi } from '@repo/testing/processes'
import { post, readParts } from '@repo/testing/ui-stream'
import { afterAll, describe, expect, it } from 'vitest'
import { queries, read, rules } from './testing.ts'

/** The metrics that a text in PromQL names, each with what it asks of their labels. */
function readSelectors(text: string) {
  const selectors = text.matchAll(/\b((?:sluice|process)_\w+)(?:\{([^}]*)\})?/g)
  return [...selectors].map(([, name = '', labels = '']) => ({
    name,
    labels: [...labels.matchAll(/(\w+)(=~|!~|!=|=)"([^"]*)"/g)].map(([, label = '', operator, value = '']) => ({
      label,
      // What Prometheus adds by itself, and what a quiet API has not told yet, is only looked up by its name.
      value: operator === '=' && ['le', 'state', 'quantile'].includes(label) ? value : undefined,
    })),
  }))
}

const ofPrometheus = ['instance', 'job']

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

  const isTold = (name: string, label?: string, value?: string) =>
    samples.some(
      (line) =>
        line.split(/[{ ]/, 1)[0] === name &&
        (label === undefined || ofPrometheus.includes(label) || line.includes(`${label}="${value ?? ''}`)),
    )

  it.each([
    ['rules', rules, 12],
    ['dashboard', queries, 25],
  ])('%s name metrics, labels and edges of buckets that /metrics has', (_, texts, atLeast) => {
    expect(texts.length).toBeGreaterThanOrEqual(atLeast)
    for (const text of texts) {
      const selectors = readSelectors(text)
      for (const { name, labels } of selectors) {
        expect(isTold(name), name).toBe(true)
        for (const { label, value } of labels)
          expect(isTold(name, label, value && `${value}"`), `${name}{${label}="${value}"}`).toBe(true)
      }
      if (!text.startsWith('absent(up')) expect(selectors.length, text).toBeGreaterThan(0)
    }
  })

  it('add up what each replica counts, and not what all of them tell of the one database', () => {
    const wrong = [...rules, ...queries].filter((text) => /sum[^(]*\((?:\w+\()?sluice_(?:pgbouncer|queue)_/.test(text))
    expect(wrong).toEqual([])
  })

  it('leave out nothing that /metrics tells but what GET /live needs', () => {
    const told = new Set([...metrics.matchAll(/^# TYPE (\w+)/gm)].map(([, name]) => name))
    const used = readSelectors([...rules, ...queries].join('\n')).map(({ name }) =>
      name.replace(/_(bucket|sum|count)$/, ''),
    )
    expect([...told].filter((name) => !used.includes(name ?? '')).sort()).toEqual([
      'sluice_event_loop_delay_last_second_seconds',
      'sluice_event_loop_delay_seconds',
      'sluice_model_tokens_total',
      'sluice_pool_in_use',
    ])
  })
})

it('each alert says what is wrong and what to do, and has data in its test on which it fires', () => {
  const names = [...read('alerts.yml').matchAll(/- alert: (\w+)/g)].map(([, name]) => name)
  expect(read('alerts.yml').match(/^ {10}summary: /gm)?.length).toBe(names.length)
  expect(read('alerts.yml').match(/^ {10}action: /gm)?.length).toBe(names.length)
  const fired = new Set([...read('alerts.test.yml').matchAll(/ALERTS\{alertname="(\w+)"/g)].map(([, name]) => name))
  expect([...fired].sort()).toEqual(names.toSorted())
})
