import { createTemplateDatabase } from './testing.ts'

/** Vitest calls this once before all test files, and the returned function once after them. */
export async function setup() {
  return createTemplateDatabase()
}
