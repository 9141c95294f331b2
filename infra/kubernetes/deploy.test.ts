import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { expect, it, onTestFinished } from 'vitest'
import { execute } from '../testing.ts'

/** Runs deploy.sh with a `kubectl` that records its calls and fails at the given verb. Returns the calls. */
async function deploy(failingVerb: string) {
  const folder = mkdtempSync(join(tmpdir(), 'kubectl-'))
  onTestFinished(() => rmSync(folder, { recursive: true }))
  const log = join(folder, 'calls')
  const script = `#!/bin/sh\necho "$*" >>"${log}"\n[ "$1" != "${failingVerb}" ]\n`
  writeFileSync(join(folder, 'kubectl'), script, { mode: 0o755 })
  const env = { ...process.env, PATH: `${folder}:${process.env.PATH}` }
  const isDone = await execute(join(import.meta.dirname, 'deploy.sh'), ['production'], { env }).then(
    () => true,
    () => false,
  )
  const calls = readFileSync(log, 'utf8').trim().split('\n')
  return { isDone, calls: calls.map((call) => call.replace(/--kustomize \S+/, '--kustomize')) }
}

const migration = [
  'delete job migrate --namespace chat --ignore-not-found',
  'apply --kustomize --selector role notin (api, worker)',
  'wait job/migrate --namespace chat --for=condition=complete --timeout=2h',
]

it('starts the new version after its migration', async () => {
  const { isDone, calls } = await deploy('nothing')
  expect(isDone).toBe(true)
  expect(calls.slice(0, 4)).toEqual([...migration, 'apply --kustomize'])
  expect(calls.slice(4).map((call) => call.split(' ').slice(0, 3))).toEqual([
    ['rollout', 'status', 'deployment/api'],
    ['rollout', 'status', 'deployment/worker'],
  ])
})

it('changes no program if the migration fails', async () => {
  expect(await deploy('wait')).toEqual({ isDone: false, calls: migration })
})
