import { readFile, writeFile } from 'node:fs/promises'
import { join } from 'node:path'

// Two versions of a project share one database, by expand and contract: the second version uses the column `words`, the
// first uses `line` of the same table. https://martinfowler.com/bliki/ParallelChange.html

const migrations = {
  first: ['create table mottos (line text not null)', "insert into mottos values ('0')"],
  /** Both versions can read what the other writes. */
  expand: [
    'alter table mottos add column words text',
    `create function share_mottos() returns trigger language plpgsql as $$ begin
      new.words := coalesce(new.words, new.line);
      new.line := coalesce(new.line, new.words);
      return new;
    end $$`,
    'create trigger share_mottos before insert on mottos for each row execute function share_mottos()',
    'update mottos set words = line where words is null',
  ],
  contract: [
    'drop trigger share_mottos on mottos',
    'drop function share_mottos',
    'alter table mottos drop column line',
    'alter table mottos alter column words set not null',
  ],
}

const route = `import { sql } from '@repo/db'
const version = Number(process.env.VERSION)
const column = sql.raw(version === 1 ? 'line' : 'words')
export default async (app) => {
  app.get('', async () => {
    const [row] = await app.db.execute(sql\`select count(\${column})::int as count from mottos\`)
    return { version, count: row.count }
  })
  app.put('', async () => {
    await app.db.execute(sql\`insert into mottos (\${column}) values (\${version}::text)\`)
    return { version }
  })
}
`

/** Adds a migration to a copy of the working tree, as `npm run db:generate` would. */
export async function addMigration(directory: string, name: keyof typeof migrations): Promise<void> {
  const folder = join(directory, 'packages/db/migrations')
  const journalFile = join(folder, 'meta/_journal.json')
  const journal = JSON.parse(await readFile(journalFile, 'utf8'))
  const { idx, when } = journal.entries.at(-1)
  const tag = `9${idx}_${name}`
  journal.entries.push({ idx: idx + 1, version: '7', when: when + 1, tag, breakpoints: true })
  await writeFile(journalFile, JSON.stringify(journal))
  await writeFile(join(folder, `${tag}.sql`), migrations[name].join(';\n--> statement-breakpoint\n'))
}

/** Adds the route /mottos to a copy of the working tree. `VERSION` in a process's environment says which version it is. */
export async function addRoute(directory: string): Promise<void> {
  await writeFile(join(directory, 'apps/api/src/routes/mottos.ts'), route)
}
