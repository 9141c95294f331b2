import { defineConfig } from 'vitest/config'

/** These start many processes or make load. They run one after another, with no other test beside them. */
const alone = [
  'infra/{compose,compose-elsewhere,compose-production,compose-stop,faults,many-clients,newcomer,random-chats,replicas}.test.ts',
  'infra/template/*.test.ts',
  'infra/observability/prometheus.test.ts',
  'apps/api/src/{hostile,invariant,stalls,tracing-cost,upload-load}.test.ts',
  'apps/api/src/chat/{leaks,runaway}.test.ts',
  'apps/bench/src/bench.test.ts',
  'apps/cli/src/ingest-files.test.ts',
  'apps/worker/src/load.test.ts',
]

export default defineConfig({
  test: {
    globalSetup: './packages/db/src/testing-setup.ts',
    // Limits only end a hang. On a busy machine everything takes ten times as long; nothing fails for that.
    testTimeout: 600_000, // the slowest test of those that run in parallel takes 30 s
    hookTimeout: 600_000,
    teardownTimeout: 60_000, // dropping the template database
    expect: { poll: { timeout: 120_000, interval: 50 } }, // most conditions hold within 2 s
    maxWorkers: '100%', // tests wait for processes more than they compute: a worker per core, not one less
    projects: [
      {
        extends: true,
        test: {
          name: 'parallel',
          include: ['{apps,infra,packages}/**/*.test.ts'],
          sequence: { groupOrder: 1 },
          exclude: ['**/node_modules/**', ...alone],
        },
      },
      {
        extends: true,
        test: {
          name: 'alone',
          include: alone,
          globalSetup: './infra/testing-images.ts',
          fileParallelism: false,
          sequence: { groupOrder: 2 }, // after all of the others
          testTimeout: 3_600_000, // a rolling replacement under load takes minutes
          hookTimeout: 3_600_000, // and so does building the images
        },
      },
    ],
  },
})
