import { DatabaseSync } from 'node:sqlite'

const held: DatabaseSync[] = []

/**
 * Takes the lock named by `file` for the life of this process; false when another process has it. The kernel holds it
 * (through SQLite's file lock), so that it ends with the process however that ends, which a file with a number does not.
 */
export function takeLock(file: string): boolean {
  const database = new DatabaseSync(file)
  try {
    database.exec('begin exclusive')
    held.push(database)
    return true
  } catch {
    return false
  }
}
