import { existsSync } from 'node:fs'
import { join } from 'node:path'
import { Ajv } from 'ajv'
import { parse } from 'smol-toml'
import { describe, expect, it } from 'vitest'
import { z } from 'zod'
import { readConfig, readWorkerConfig } from '../../packages/config/src/index.ts'
import { read, readSection, root } from '../testing.ts'

const schema: { properties: object } = JSON.parse(read('infra/fly/schema.json'))
const ajv = new Ajv({ strict: false })
const validate = ajv.compile(schema)
const files = ['fly.toml', 'pooler.toml']
const load = (file: string) => parse(read(`infra/fly/${file}`))
const section = readSection('Fly.io')

/** Returns what is wrong with a configuration. The schema allows unknown sections, which Fly.io ignores. */
function findProblems(config: object): string[] {
  const unknown = Object.keys(config).filter((name) => !(name in schema.properties))
  return [...(validate(config) ? [] : [ajv.errorsText(validate.errors)]), ...unknown]
}

const Machine = z.object({ memory: z.string(), processes: z.array(z.string()) })
const App = z.object({
  kill_signal: z.literal('SIGTERM'),
  kill_timeout: z.number(),
  build: z.object({ image: z.string() }),
  deploy: z.object({ release_command: z.string(), max_unavailable: z.literal(1) }),
  processes: z.record(z.string(), z.string()),
  env: z.record(z.string(), z.string()),
  http_service: z.object({
    processes: z.tuple([z.literal('api')]),
    internal_port: z.number(),
    auto_stop_machines: z.literal('off'),
    concurrency: z.object({ type: z.literal('connections'), hard_limit: z.number() }),
    checks: z.array(z.object({ path: z.string() })),
  }),
  vm: z.array(Machine),
})

describe('the configuration for Fly.io', () => {
  it.each(files)('%s has the fields that its schema knows', (file) => {
    expect(findProblems(load(file))).toEqual([])
  })

  it.each([
    ['a number as text', { app: 1 }],
    ['an unknown signal', { kill_signal: 'TERM' }],
    ['an unknown field of a deploy', { deploy: { release_comand: 'node migrate.js' } }],
    ['an unknown section', { proceses: { api: 'node server.js' } }],
    ['a machine that does not exist', { vm: [{ size: 'shared-cpu-3x' }] }],
  ])('%s is reported', (_, change) => {
    expect(findProblems({ ...load('fly.toml'), ...change })).not.toEqual([])
  })

  const { env, kill_timeout, processes, deploy, http_service, vm, build } = App.parse(load('fly.toml'))
  const secrets = [...section.matchAll(/\b([A-Z_]{4,})=/g)].map(([, name = '']) => name)
  const config = readConfig({ NODE_ENV: 'production', DATABASE_URL: 'postgres://a@b/c', ...env })

  it('gives a process time to drain and close, and Fly.io allows that', () => {
    const closeMs = Number(
      read('apps/api/src/server.ts')
        .match(/closeTimeoutMs = ([\d_]+)/)?.[1]
        ?.replaceAll('_', ''),
    )
    expect(kill_timeout * 1000).toBeGreaterThanOrEqual(config.DRAIN_TIMEOUT_MS + closeMs)
    expect(kill_timeout).toBeLessThanOrEqual(300)
  })

  it('starts programs that the image contains, and migrates before a rollout', () => {
    const commands = [...Object.values(processes), deploy.release_command]
    expect(
      commands.map((command) =>
        command
          .match(/^node (apps\/\w+)\/dist\/(\w+)\.js$/)
          ?.slice(1)
          .join('/'),
      ),
    ).toEqual(['apps/api/server', 'apps/worker/worker', 'apps/cli/migrate'])
    for (const command of commands)
      expect(
        existsSync(join(root, command.slice('node '.length).replace('/dist/', '/src/').replace('.js', '.ts'))),
      ).toBe(true)
  })

  it('sets variables that exist, and the section names the required ones', () => {
    const known = new Set([...read('.env.example').matchAll(/^# +([A-Z_]{4,})=/gm)].map(([, name]) => name))
    expect(Object.keys(env).filter((name) => !known.has(name))).toEqual([])
    expect(secrets).toEqual(expect.arrayContaining(['DATABASE_URL', 'DIRECT_DATABASE_URL', 'PGBOUNCER_ADMIN_URL']))
    const needed = [...read('infra/pgbouncer/entrypoint.sh').matchAll(/\$\{(\w+):\?/g)].map(([, name = '']) => name)
    expect(needed.length).toBeGreaterThan(2)
    const given = z.object({ env: z.record(z.string(), z.string()) }).parse(load('pooler.toml')).env
    expect(needed.filter((name) => !(name in given) && !secrets.includes(name))).toEqual([])
  })

  it('connects the programs to the pooler, and the migration to Postgres', () => {
    const { app } = z.object({ app: z.string() }).parse(load('pooler.toml'))
    expect(section).toContain(`DATABASE_URL=postgres://sluice:…@${app}.internal:6432/sluice`)
    expect(section).toMatch(/DIRECT_DATABASE_URL=postgres:\/\/sluice:…@[^:]+:5432\/sluice/)
  })

  it('checks a route of the API on its port, and sends a machine no more streams than it accepts', () => {
    expect(http_service.checks.map(({ path }) => path)).toEqual(['/health/ready'])
    expect(http_service.internal_port).toBe(config.PORT)
    expect(http_service.concurrency.hard_limit).toBeLessThanOrEqual(config.MAX_STREAMS)
  })

  it('gives a worker 1 GB for itself and for each file that it reads', () => {
    const { WORKER_CONCURRENCY } = readWorkerConfig({ DATABASE_URL: 'postgres://a@b/c', ...env })
    const memory = vm.find((machine) => machine.processes.includes('worker'))?.memory
    expect(Number.parseInt(memory ?? '', 10)).toBeGreaterThanOrEqual(WORKER_CONCURRENCY + 2)
  })

  it('uses the images that the release workflow publishes', () => {
    const suffixes = [...read('.github/workflows/release.yml').matchAll(/suffix: "([^"]*)"/g)].map(([, name]) => name)
    const pooler = z.object({ build: z.object({ image: z.string() }) }).parse(load('pooler.toml')).build.image
    const images = [build.image, pooler]
    expect(images).toEqual(suffixes.map((suffix) => `ghcr.io/owner/repository${suffix}:v0.2.0`))
  })
})
