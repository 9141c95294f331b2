import { afterAll, expect, vi } from 'vitest'

// Runs with every test file. Files share a process, so none may leave fake timers, globals or spies to the next, even
// if it failed while it was loaded.
function cleanUp(): void {
  vi.useRealTimers()
  vi.unstubAllGlobals()
  vi.restoreAllMocks()
  expect.setState({ currentTestName: undefined }) // vitest keeps it, and helpers ask whether they run in a test
}

cleanUp()
afterAll(cleanUp)
