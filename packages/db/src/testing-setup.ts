import { createTemplateDatabase } from './testing.ts'

/** Vitest calls it once before all test files, and what it returns once after them. */
export async function setup() {
  return createTemplateDatabase()
}
