import { fileURLToPath } from 'node:url'
import { parseArgs } from 'node:util'

export type Options = Exclude<ReturnType<typeof readOptions>, undefined>

const ownCollection = fileURLToPath(new URL('../../collections/postgresql', import.meta.url))

const help = `npm run eval -- [DIR] [OPTIONS]: measures retrieval quality, on a temporary stack

  DIR           a collection in BEIR's layout: corpus.jsonl, queries.jsonl, qrels/test.tsv
                (default: apps/bench/collections/postgresql), or a folder of collections, such as
                apps/bench/collections/multilingual
  --json FILE   write the results of text, vector, hybrid and bm25 to FILE
  --chunks N    instead, measure recall with filters and the cost of searches over N chunks, mixed from DIR's sentences
  --members N   with --chunks, also measure a member of an organization: N members with 10 chunks each, and as many shared
                chunks as --chunks says
  --plot FILE   write nDCG@10 with intervals to FILE as SVG
  --help        show this help

Set EMBEDDING_MODEL, OPENAI_BASE_URL and OPENAI_API_KEY to use another embedding model than the offline one.
Set RERANK_BASE_URL and RERANK_MODEL to measure a reranker, too.
`

/** Parses the command line. Prints help and returns undefined for `--help`. Throws a one-line error for invalid options. */
export function readOptions(args: string[]) {
  const { values, positionals } = parseArgs({
    args,
    allowPositionals: true,
    options: {
      json: { type: 'string' },
      plot: { type: 'string' },
      chunks: { type: 'string' },
      members: { type: 'string' },
      help: { type: 'boolean', default: false },
    },
  })
  if (values.help) {
    console.log(help)
    return undefined
  }
  if (positionals.length > 1) throw new Error('Too many arguments. Pass one collection: npm run eval -- [DIR]')
  const chunks = readCount(values, 'chunks', 1000)
  const members = readCount(values, 'members', 1)
  return { ...values, chunks, members, folder: positionals[0] ?? ownCollection }
}

function readCount<Name extends string>(values: { [key in Name]?: string }, name: Name, min: number) {
  const count = values[name] === undefined ? undefined : Number(values[name])
  if (count === undefined || (Number.isInteger(count) && count >= min)) return count
  throw new Error(`--${name} must be a whole number of at least ${min}.`)
}
