import * as database from './database.ts'
import type { Check } from './examine.ts'
import * as machine from './machine.ts'
import * as models from './models.ts'

const usePoolMode = 'set pool_mode = transaction and a default_pool_size above 1 in pgbouncer.ini'
const startDatabase =
  'start it (`npm start`, `docker compose up`), or set DATABASE_URL to its address, user and database'

/** The checks of `npm run manage -- doctor`, in this order. To add one, write its function and add a line here. */
export const checks: Check[] = [
  { name: 'environment', run: machine.checkEnvironment },
  { name: 'node', run: machine.checkNode },
  { name: 'driver', run: machine.checkDriver },
  { name: 'port', run: machine.checkPort },
  { name: 'database', run: database.checkConnection, fix: startDatabase },
  { name: 'versions', needs: ['database'], run: database.checkVersions },
  { name: 'pooler', needs: ['database'], run: database.checkPooler, fix: usePoolMode },
  { name: 'pgbouncer', run: database.checkPgbouncer, fix: 'set PGBOUNCER_ADMIN_URL to its console, or unset it' },
  { name: 'direct', run: database.checkDirect, fix: 'set DIRECT_DATABASE_URL to Postgres itself' },
  { name: 'same database', needs: ['database', 'direct'], run: database.checkSameDatabase },
  { name: 'migrations', needs: ['database'], run: database.checkMigrations },
  { name: 'settings', needs: ['migrations'], run: database.checkSettings },
  { name: 'models', run: models.checkListed },
  { name: 'chat model', run: models.checkChat },
  { name: 'embedder', run: models.checkEmbedder, fix: 'set EMBEDDING_MODEL and the URL and key of its server' },
  { name: 'reranker', run: models.checkReranker, fix: 'set RERANK_BASE_URL, RERANK_MODEL and RERANK_API_KEY' },
  { name: 'stored vectors', needs: ['migrations'], run: models.checkStoredVectors },
  { name: 'stored words', needs: ['migrations'], run: database.checkStoredWords },
  { name: 'vector index', needs: ['migrations', 'embedder'], run: models.checkVectorIndex },
]
