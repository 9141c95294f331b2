import { spawnSync } from 'node:child_process'
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { describe, expect, it } from 'vitest'
import { read, root } from './testing.ts'

const squawk = join(root, 'node_modules/.bin/squawk')

/** Runs the linter as `npm run migrations` does. */
function lint(sql: string) {
  const { status, stdout } = spawnSync(squawk, ['--reporter=gcc', '--stdin-filepath=9999_new.sql'], {
    cwd: root,
    input: sql,
    encoding: 'utf8',
  })
  return { status, rules: [...stdout.matchAll(/(?:warning|error): ([a-z-]+)/g)].map(([, rule]) => rule) }
}

describe('a migration is rejected if it', () => {
  it.each([
    ['drops a column', 'ban-drop-column', 'ALTER TABLE "messages" DROP COLUMN "parts";'],
    ['drops a table', 'ban-drop-table', 'DROP TABLE "messages";'],
    ['renames a column', 'renaming-column', 'ALTER TABLE "messages" RENAME COLUMN "parts" TO "pieces";'],
    ['renames a table', 'renaming-table', 'ALTER TABLE "messages" RENAME TO "lines";'],
    [
      'adds a column that old inserts omit',
      'adding-required-field',
      'ALTER TABLE "messages" ADD COLUMN "a" text NOT NULL;',
    ],
    [
      'rewrites a table for a default',
      'adding-field-with-default',
      'ALTER TABLE "messages" ADD COLUMN "a" uuid DEFAULT gen_random_uuid();',
    ],
    ['changes a type', 'changing-column-type', 'ALTER TABLE "messages" ALTER COLUMN "position" SET DATA TYPE numeric;'],
    [
      'scans a table for nulls',
      'adding-not-nullable-field',
      'ALTER TABLE "messages" ALTER COLUMN "parts" SET NOT NULL;',
    ],
    [
      'creates an index while writes wait',
      'require-concurrent-index-creation',
      'CREATE INDEX "a" ON "messages" ("model");',
    ],
    ['drops an index while reads wait', 'require-concurrent-index-deletion', 'DROP INDEX "messages_feedback";'],
    [
      'adds a unique constraint',
      'disallowed-unique-constraint',
      'ALTER TABLE "messages" ADD CONSTRAINT "a" UNIQUE ("model");',
    ],
    [
      'adds a check',
      'constraint-missing-not-valid',
      'ALTER TABLE "messages" ADD CONSTRAINT "a" CHECK ("position" > 0);',
    ],
    [
      'adds a foreign key',
      'adding-foreign-key-constraint',
      'ALTER TABLE "chunks" ADD CONSTRAINT "a" FOREIGN KEY ("owner_id") REFERENCES "owners"("id");',
    ],
  ])('%s', (_, rule, sql) => {
    const { status, rules } = lint(sql)
    expect(rules).toContain(rule)
    expect(status).not.toBe(0)
  })
})

it('what expands a schema is accepted, and so is an exception with its reason', () => {
  const table = readFileSync(join(root, 'packages/db/migrations/0005_model_usage.sql'), 'utf8')
  const column = `ALTER TABLE "messages" ADD COLUMN "a" text; ALTER TABLE "messages" ADD COLUMN "b" jsonb DEFAULT '[]' NOT NULL;`
  const [, exception = ''] =
    /```sql\n(.*?)```/s.exec(read('docs/operations.md').split('## Expand and contract')[1] ?? '') ?? []
  expect(exception).toContain('squawk-ignore')
  for (const sql of [table, column, exception]) expect(lint(sql)).toEqual({ status: 0, rules: [] })
})

it('only migrations from before the first release are exempt', () => {
  const exempt = [...read('.squawk.toml').matchAll(/migrations\/(\d+)_/g)].map(([, number]) => number)
  expect(exempt).toEqual(['0000', '0001', '0002', '0003', '0004'])
})
