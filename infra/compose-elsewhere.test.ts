import { writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { beforeEach, expect, it } from 'vitest'
import { execute, readBlock, readSection } from './testing.ts'
import { useCompose } from './testing-compose.ts'

// `docker compose up` with an external Postgres, as described in docs/operations.md.

/** Starts a Postgres with TLS that is independent of this project, as the service `provider` with its own host name. */
const provider = `
  provider:
    image: pgvector/pgvector:pg18-trixie
    networks: { default: { aliases: [db.example.com] } }
    environment: { POSTGRES_PASSWORD: anything }
    volumes: ["./ca.pem:/ca.pem:ro", "./key.pem:/key.pem:ro"]
    entrypoint: [sh, -c, "install -m 600 -o postgres /key.pem /tmp/ && exec docker-entrypoint.sh postgres -cssl=on -cssl_cert_file=/ca.pem -cssl_key_file=/tmp/key.pem"]
    healthcheck: { test: [CMD, pg_isready, -h, 127.0.0.1], interval: 1s, retries: 1000 }
`
const makeCertificate =
  'openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 2 -subj /CN=db.example.com ' +
  '-addext subjectAltName=DNS:db.example.com -keyout key.pem -out ca.pem 2>&1'
const section = readSection('Another Postgres')

const hasOpenssl = await execute('openssl', ['version']).then(
  () => true,
  () => false,
)

const compose = await useCompose(async ({ directory, sh, up }) => {
  if (!hasOpenssl) return
  await sh(makeCertificate)
  await writeFile(join(directory, 'docker-compose.override.yml'), readBlock(section, 'yaml') + provider)
  await sh('docker compose up --detach --wait provider')
  await writeFile(join(directory, 'provider.sql'), readBlock(section, 'sql').replace('…', 'theirs'))
  await sh('docker compose exec -T provider psql -U postgres -v ON_ERROR_STOP=1 <provider.sql')
  const lines = readBlock(section, 'dotenv').trim().split('\n')
  const settings = Object.fromEntries(lines.map((line) => line.split('=')))
  await up({ ...settings, POSTGRES_PASSWORD: 'theirs' })
})

beforeEach((context) => context.skip(!hasOpenssl, 'no openssl to make a certificate with'))

it('the API runs on it', async () => {
  expect((await compose.call('/search?q=office')).status).toBe(200)
})

it('PgBouncer connects with TLS', async () => {
  const servers = await compose.sh("docker compose exec -T pgbouncer psql -At -c 'show servers'")
  expect(servers).toMatch(/TLSv1\.3/)
})

it('a certificate of an unknown authority is rejected', async () => {
  const stranger = compose.sh('docker compose run --rm -e NODE_EXTRA_CA_CERTS= migrate')
  await expect(stranger).rejects.toThrow('self-signed certificate')
})
