import { defineConfig } from 'vitest/config'

/** These start processes, kill connections or load much data. Like those below, they run with `--full`, or when named. */
const processes = [
  'apps/api/src/server.test.ts',
  'apps/api/tests/{generated-client,logs,tracing}.test.ts',
  'apps/api/src/chat/{resume,stop}.test.ts',
  'apps/api/src/openai/responses/clients.test.ts',
  'apps/api/src/metrics/sum.test.ts',
  'apps/bench/src/{variants,watch}/*.test.ts',
  'apps/cli/src/{bulk-load,manage,migrate,owners,reindex-killed,seed}.test.ts',
  'apps/cli/src/doctor/doctor.test.ts',
  'apps/web/src/*.test.ts',
  'apps/worker/src/{files,tracing,worker}.test.ts',
  'infra/{doctor,migrations,structure}.test.ts',
  'infra/kubernetes/*.test.ts',
  'infra/local/*.test.ts',
  'infra/observability/metrics.test.ts',
  'apps/prove/src/package.test.ts',
  'packages/connection-guard/src/package.test.ts',
  'packages/db/src/passages-{plan,scope}.test.ts',
  'packages/db/src/driver/{patch,semaphore}.test.ts',
  'packages/extract/src/*.test.ts',
]

/** These start whole stacks or copies of this repository, and wait for them half of the time. They run two at a time. */
const stacks = [
  'infra/{compose,compose-elsewhere,compose-production,database-faults,faults,newcomer,random-chats,replicas}.test.ts',
  'infra/template/*.test.ts',
  'infra/observability/prometheus.test.ts',
  'apps/api/tests/{hostile,killed,killed-usage}.test.ts',
  'apps/cli/src/ingest-files.test.ts',
]

/** These measure, or make as much load as a machine can carry. They run one after another, with nothing beside them. */
const alone = [
  'infra/many-clients.test.ts',
  'infra/kubernetes/rehearsal.test.ts',
  'apps/api/tests/{invariant,stalls,tracing-cost,upload-load}.test.ts',
  'apps/api/src/chat/{leaks,runaway}.test.ts',
  'apps/api/src/openai/responses/cost.test.ts',
  'apps/bench/src/bench.test.ts',
  'apps/prove/src/servers.test.ts',
  'apps/worker/src/load.test.ts',
  'packages/db/src/progress-wal.test.ts',
]

export default defineConfig({
  test: {
    globalSetup: './packages/db/src/testing-setup.ts',
    // Limits only end a hang. On a busy machine everything takes ten times as long; nothing fails for that.
    testTimeout: 600_000, // the slowest test of those that run in parallel takes 30 s
    hookTimeout: 600_000,
    teardownTimeout: 60_000, // dropping the template database
    expect: { poll: { timeout: 120_000, interval: 50 } }, // most conditions hold within 2 s
    isolate: false, // loading the packages again for each file takes half as long as its tests
    setupFiles: './packages/testing/src/clean-process.ts',
    projects: [
      {
        extends: true,
        test: {
          name: 'fast',
          maxWorkers: 4, // these wait for the database and for timeouts half of the time
          include: ['{apps,infra,packages}/**/*.test.ts'],
          exclude: ['**/node_modules/**', ...processes, ...stacks, ...alone],
          sequence: { groupOrder: 0 },
        },
      },
      {
        extends: true,
        test: {
          name: 'processes',
          include: processes,
          maxWorkers: 3, // enough to keep two cores busy while some wait for a process
          exclude: ['**/node_modules/**', ...stacks, ...alone],
          sequence: { groupOrder: 1 },
        },
      },
      {
        extends: true,
        test: {
          name: 'stacks',
          include: stacks,
          globalSetup: './infra/testing-images.ts',
          maxWorkers: 2,
          sequence: { groupOrder: 2 },
          testTimeout: 3_600_000, // a rolling replacement under load takes minutes
          hookTimeout: 3_600_000, // and so does building the images
        },
      },
      {
        extends: true,
        test: {
          name: 'alone',
          include: alone,
          fileParallelism: false,
          sequence: { groupOrder: 3 }, // after all of the others
          testTimeout: 3_600_000, // some make load for minutes on a slow machine
        },
      },
    ],
  },
})
