import * as database from './database.ts'
import type { Check } from './examine.ts'
import * as machine from './machine.ts'
import * as models from './models.ts'

const usualPooling = 'pool_mode = transaction and a default_pool_size above 1 in pgbouncer.ini'
const startDatabase =
  'start it (`npm start`, `docker compose up`), or set DATABASE_URL to its address, user and database'

/** What `npm run manage -- doctor` looks at, in this order. A check of your own is one more line and its function. */
export const checks: Check[] = [
  { name: 'environment', run: machine.checkEnvironment },
  { name: 'node', run: machine.checkNode },
  { name: 'driver', run: machine.checkDriver },
  { name: 'port', run: machine.checkPort },
  { name: 'database', run: database.checkAnswer, mend: startDatabase },
  { name: 'versions', needs: ['database'], run: database.checkVersions },
  {
    name: 'pooler',
    needs: ['database'],
    run: database.checkPooler,
    mend: usualPooling,
  },
  { name: 'pgbouncer', run: database.checkPgbouncer, mend: 'set PGBOUNCER_ADMIN_URL to its console, or leave it out' },
  { name: 'direct', run: database.checkDirect, mend: 'set DIRECT_DATABASE_URL to Postgres itself' },
  { name: 'same database', needs: ['database', 'direct'], run: database.checkSameness },
  { name: 'migrations', needs: ['database'], run: database.checkMigrations },
  { name: 'settings', needs: ['migrations'], run: database.checkSettings },
  { name: 'chat model', run: models.checkChat, mend: 'set CHAT_MODEL, OPENAI_BASE_URL and OPENAI_API_KEY' },
  { name: 'embedder', run: models.checkEmbedder, mend: 'set EMBEDDING_MODEL and the URL and key of its server' },
  { name: 'stored vectors', needs: ['migrations'], run: models.checkStoredVectors },
  { name: 'vector index', needs: ['migrations', 'embedder'], run: models.checkVectorIndex },
]
