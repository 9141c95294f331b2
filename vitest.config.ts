import { defineConfig } from 'vitest/config'

export default defineConfig({
  test: {
    include: ['apps/**/*.test.ts', 'packages/**/*.test.ts', 'infra/**/*.test.ts'],
    globalSetup: './packages/db/src/testing-setup.ts',
    testTimeout: 20_000, // real processes on a busy machine; a promise that hangs is the failure it finds
    hookTimeout: 60_000,
    expect: { poll: { timeout: 10_000 } }, // its own second is no time on a busy machine
    maxWorkers: '100%', // tests wait for processes more than they compute: a worker for each core, not one less
  },
})
