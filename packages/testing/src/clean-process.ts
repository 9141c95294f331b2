import { afterAll, vi } from 'vitest'

// Runs with every test file. Files share a process, so none may leave fake timers, globals or spies to the next, even
// if it failed while it was loaded.
function cleanUp(): void {
  vi.useRealTimers()
  vi.unstubAllGlobals()
  vi.restoreAllMocks()
}

cleanUp()
afterAll(cleanUp)
