import { afterAll, vi } from 'vitest'

// Runs with every test file. Files share a process, so none may leave its fake timers to the next.
afterAll(() => void vi.useRealTimers())
