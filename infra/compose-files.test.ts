import { globSync } from 'node:fs'
import { describe, expect, it } from 'vitest'
import { readConfig, readWorkerConfig } from '../packages/config/src/index.ts'
import { read, readBlock, readSection, root } from './testing.ts'

const composeFile = read('docker-compose.yml')
const localStack = read('infra/local/stack.ts')
const ini = read('infra/pgbouncer/pgbouncer.ini.template')
const readNumber = (text: string, pattern: RegExp) => Number(text.match(pattern)?.[1])
const setting = (name: string) => readNumber(ini, new RegExp(`^${name} = (\\d+)$`, 'm'))
/** The services by name, each with its text. */
const services = [...composeFile.matchAll(/^ {2}(\w+):\n((?: {4}.*\n|\n| {2}#.*\n)+)/gm)].flatMap(
  ([, name = '', text = '']) => (/^ {4}(?:image|build):/m.test(text) ? [{ name, text }] : []),
)

describe('the container configuration', () => {
  it('uses no more connections than Postgres has, and leaves some for migrations and people', () => {
    const maxConnections = readNumber(composeFile, /max_connections=(\d+)/)
    expect(maxConnections).toBe(readNumber(localStack, /max_connections=(\d+)/))
    const pools = ['default_pool_size', 'max_db_connections', 'max_user_connections'].map(setting)
    expect(pools.every(Number.isInteger)).toBe(true)
    expect(pools).toEqual(pools.toSorted((a, b) => a - b))
    expect(maxConnections).toBeGreaterThan(setting('max_user_connections') + 10)
  })

  it('allows PgBouncer one file per client and server connection', () => {
    const files = readNumber(composeFile, /nofile: (\d+)/)
    expect(files).toBeGreaterThan(setting('max_client_conn') + setting('max_user_connections'))
  })

  it('creates the cluster as `npm start` does', () => {
    const flags = (text: string) => [...text.matchAll(/--(?:encoding|(?:builtin-)?locale(?:-provider)?)=[\w.-]+/g)]
    expect(flags(composeFile).map(String).sort()).toEqual(flags(localStack).map(String).sort())
    expect(flags(composeFile).length).toBe(4)
  })

  it('reads only variables that .env.example explains', () => {
    const names = [...composeFile.matchAll(/\$\{(\w+)/g)].map(([, name]) => name)
    const explained = new Set([...read('.env.example').matchAll(/^# +([A-Z_]+)=/gm)].map(([, name]) => name))
    expect(names.filter((name) => name !== 'COMPOSE_PROJECT_NAME' && !explained.has(name))).toEqual([])
  })

  it('is configured on a new server as the sections about settings and TLS say', () => {
    const [server, tls] = [readSection('A server from nothing'), readSection('TLS in front')]
    const names = (page: string) => [...page.matchAll(/^([A-Z_]+)=/gm)].map(([, name = '']) => name)
    const expected = [readSection('Settings'), tls].flatMap((section) => names(readBlock(section, 'dotenv')))
    expect(names(server)).toEqual(expect.arrayContaining(expected))
    const explained = read('.env.example')
    expect(
      names(server).filter((name) => !new RegExp(`^# +${name}=`, 'm').test(explained) && name !== 'NODE_ENV'),
    ).toEqual([])
    expect(server).toContain(readBlock(tls, 'yaml'))
  })

  it('has the numbers that docs/operations.md uses', () => {
    const rows = [...readSection('Pool sizes').matchAll(/`(\w+)` (\d+)/g)].map(([, name = '', value]) => [
      name,
      Number(value),
    ])
    const numbers = rows.filter(([name]) => ini.includes(`\n${name} = `))
    expect(numbers.length).toBe(4)
    expect(numbers).toEqual(numbers.map(([name]) => [name, setting(String(name))]))
  })

  it('sizes PgBouncer for a deploy of four replicas and two workers, as docs/operations.md does', () => {
    const [, replicas, processes, connections, workers, jobs, sum] =
      ini.match(/2 x (\d+) x (\d+) x (\d+) \+ (\d+) x (\d+) = (\d+)/)?.map(Number) ?? []
    const { DATABASE_POOL_SIZE, WEB_CONCURRENCY } = readConfig({ DATABASE_URL: 'postgres://sluice@localhost/sluice' })
    const { WORKER_CONCURRENCY } = readWorkerConfig({ DATABASE_URL: 'postgres://sluice@localhost/sluice' })
    expect([processes, connections]).toEqual([WEB_CONCURRENCY, DATABASE_POOL_SIZE + 1])
    expect(jobs).toBe(WORKER_CONCURRENCY + 3)
    expect(sum).toBe(2 * Number(replicas) * Number(processes) * Number(connections) + Number(workers) * Number(jobs))
    expect(sum).toBeLessThan(setting('max_client_conn'))
    expect(readSection('Pool sizes')).toContain(`${sum} with both versions at once`)
  })

  it('uses read-only containers without privileges, except Postgres, whose image is the vendor’s', () => {
    const [, locked = ''] = composeFile.match(/x-locked: &locked\n((?: {2}.*\n)+)/) ?? []
    expect(locked.trim().split(/\n */)).toEqual([
      'read_only: true',
      'tmpfs: [/tmp]',
      'cap_drop: [ALL]',
      'security_opt: ["no-new-privileges:true"]',
    ])
    expect(
      services.filter(({ text }) => !/<<: (?:\*locked|\[\*locked, .*\])/.test(text)).map(({ name }) => name),
    ).toEqual(['postgres'])
    expect(composeFile).not.toMatch(/privileged|network_mode|docker\.sock|cap_add/)
  })

  it('checks running containers every 15 s', () => {
    for (const { name, text } of services.filter(({ name }) => name !== 'migrate')) {
      const [, check = ''] = text.match(/^ {4}healthcheck:\n((?: {6}.*\n)+)/m) ?? []
      expect(check, name).toContain('<<: *check')
      expect(check, name).toMatch(
        /\[CMD, node, health\.js, \w+, "15"\]|\[ -e \/dev\/shm\/up \] && sleep 15(?:[;\n]| && exec )[\s\S]*&& touch \/dev\/shm\/up/,
      )
    }
  })

  it('runs our own images without root', () => {
    const users = ['infra/api/Dockerfile', 'infra/pgbouncer/Dockerfile', 'infra/balancer/Dockerfile'].map((file) =>
      read(file)
        .match(/^USER (.*)$/gm)
        ?.at(-1),
    )
    expect(users).toEqual(['USER node', 'USER postgres', 'USER nobody'])
  })

  it('publishes only the balancer and, on request, Prometheus and Grafana, and only to this machine', () => {
    expect(services.map(({ name }) => name)).toEqual([
      'postgres',
      'migrate',
      'pgbouncer',
      'api',
      'balancer',
      'worker',
      'prometheus',
      'grafana',
    ])
    const published = services.filter(({ text }) => /^ +ports:/m.test(text))
    expect(published.map(({ name }) => name)).toEqual(['balancer', 'prometheus', 'grafana'])
    for (const { text } of published) expect(text).toMatch(/^ {4}ports: \["127\.0\.0\.1:[^"]+"\]/m)
    const optional = services.filter(({ text }) => text.includes('profiles: '))
    expect(optional.map(({ name }) => name)).toEqual(['prometheus', 'grafana'])
  })

  it('logs no rows: Postgres omits the DETAIL of errors, as in `npm start`', () => {
    for (const settings of [composeFile, localStack]) expect(settings).toContain('log_error_verbosity=terse')
  })
})

it('a release lists what its image contains, proves where it was built, and can be built again', () => {
  const release = read('.github/workflows/release.yml')
  for (const line of ['sbom: true', 'provenance: mode=max', 'env: { SOURCE_DATE_EPOCH: '])
    expect(release).toContain(line)
  const dockerfile = read('infra/api/Dockerfile')
  expect(dockerfile).toContain('touch -hd "@$SOURCE_DATE_EPOCH"')
  // The bundles contain no package.json, so the packages are found where they were installed.
  const stages = dockerfile.split(/^FROM /m).filter((stage) => stage.includes('npm ci'))
  expect(stages.filter((stage) => !stage.includes('ARG BUILDKIT_SBOM_SCAN_STAGE=true'))).toEqual([])
})

it('GitHub Actions are pinned by commit and may only read the repository', () => {
  const workflows = globSync('.github/workflows/*', { cwd: root }).map(read).join('')
  const actions = [...workflows.matchAll(/uses: (\S+)/g)].map(([, action]) => action)
  expect(actions.length).toBeGreaterThan(1)
  expect(actions.filter((action) => !/^[\w/-]+@[\da-f]{40}$/.test(action ?? ''))).toEqual([])
  expect(workflows).toContain('permissions: { contents: read }')
})
