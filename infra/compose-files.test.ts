import { describe, expect, it } from 'vitest'
import { read, readSection } from './testing.ts'

const composeFile = read('docker-compose.yml')
const embedded = read('infra/embedded/stack.ts')
const ini = read('infra/pgbouncer/pgbouncer.ini.template')
const readNumber = (text: string, pattern: RegExp) => Number(text.match(pattern)?.[1])
const setting = (name: string) => readNumber(ini, new RegExp(`^${name} = (\\d+)$`, 'm'))

describe('the containers, as their files say', () => {
  it('take no more connections than Postgres has, and leave some for migrations and people', () => {
    const maxConnections = readNumber(composeFile, /max_connections=(\d+)/)
    expect(maxConnections).toBe(readNumber(embedded, /max_connections=(\d+)/))
    const pools = ['default_pool_size', 'max_db_connections', 'max_user_connections'].map(setting)
    expect(pools.every(Number.isInteger)).toBe(true)
    expect(pools).toEqual(pools.toSorted((a, b) => a - b))
    expect(maxConnections).toBeGreaterThan(setting('max_user_connections') + 10)
  })

  it('allow PgBouncer a file for each client and each server connection', () => {
    const files = readNumber(composeFile, /nofile: (\d+)/)
    expect(files).toBeGreaterThan(setting('max_client_conn') + setting('max_user_connections'))
  })

  it('create the cluster as `npm start` does', () => {
    const flags = (text: string) => [...text.matchAll(/--(?:encoding|(?:builtin-)?locale(?:-provider)?)=[\w.-]+/g)]
    expect(flags(composeFile).map(String).sort()).toEqual(flags(embedded).map(String).sort())
    expect(flags(composeFile).length).toBe(4)
  })

  it('read only variables that .env.example explains', () => {
    const names = [...composeFile.matchAll(/\$\{(\w+)/g)].map(([, name]) => name)
    const explained = new Set([...read('.env.example').matchAll(/^# +([A-Z_]+)=/gm)].map(([, name]) => name))
    expect(names.filter((name) => name !== 'COMPOSE_PROJECT_NAME' && !explained.has(name))).toEqual([])
  })

  it('have the numbers that infra/README.md calculates with', () => {
    const rows = [...readSection('Sizes of pools').matchAll(/`(\w+)` (\d+)/g)].map(([, name = '', value]) => [
      name,
      Number(value),
    ])
    const numbers = rows.filter(([name]) => ini.includes(`\n${name} = `))
    expect(numbers.length).toBe(4)
    expect(numbers).toEqual(numbers.map(([name]) => [name, setting(String(name))]))
  })
})
