import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, expect, it, onTestFailed } from 'vitest'
import { createTestDatabase, type TestDatabase } from '../packages/db/src/testing.ts'
import { type MockModel, startMockModel } from '../packages/testing/src/mock-model/mock-model.ts'
import { startServer } from './local/processes.ts'
import { isFull } from './testing.ts'
import { createOwner, startApi } from './testing-apis.ts'
import { actions, createRandom, type World } from './testing-random-chats.ts'
import { checkEnd, checkReaders } from './testing-random-checks.ts'

// Random sequences of client actions and failures on two API processes, checked against a model of what must hold. The
// sequence number is the seed: `npm test -- --full infra/random-chats.test.ts -t 'sequence 3'` repeats that one.

const steps = 40
const numbers = Array.from({ length: isFull ? 6 : 2 }, (_, index) => index + 1)

let database: TestDatabase
let model: MockModel
let directory: string
let shared: Pick<World, 'apis' | 'alice' | 'bob'>

beforeAll(async () => {
  database = await createTestDatabase()
  model = await startMockModel()
  directory = await mkdtemp(join(tmpdir(), 'sluice random chats '))
  const environment = { DATABASE_URL: database.databaseUrl, OPENAI_BASE_URL: model.url }
  const start = startServer.bind(undefined, directory)
  const apis = await Promise.all(['api-0', 'api-1'].map((name) => startApi(start, name, environment)))
  const [alice, bob] = [
    await createOwner(database.databaseUrl, 'alice'),
    await createOwner(database.databaseUrl, 'bob'),
  ]
  shared = { apis, alice, bob }
})

afterAll(async () => {
  await Promise.all(shared.apis.map((api) => api.kill()))
  await model.close()
  await database.drop()
  await rm(directory, { recursive: true })
})

it.each(numbers)('sequence %i keeps every guarantee', async (number) => {
  const random = createRandom(number)
  const world: World = { ...shared, name: `${number}`, random, answers: [] }
  const done: string[] = []
  onTestFailed(() => console.log(`after ${done.join(', ')}`))
  for (let step = 0; step < steps; step += 1) {
    const action = random.pick(actions)
    done.push(action.name)
    await action(world)
    checkReaders(world)
  }
  await checkEnd(world)
  await expect.poll(() => model.stats().open).toBe(0)
})
