import { fileURLToPath } from 'node:url'
import { parseArgs } from 'node:util'

export type Options = Exclude<ReturnType<typeof readOptions>, undefined>

const ownCollection = fileURLToPath(new URL('../../collections/postgresql', import.meta.url))

const help = `npm run eval -- [DIR] [OPTIONS]: how good retrieval is, on a stack of its own

  DIR           a collection in BEIR's layout: corpus.jsonl, queries.jsonl, qrels/test.tsv
                (default apps/bench/collections/postgresql)
  --json FILE   the numbers: text, vector, hybrid, bm25, each with value, low and high of each measure
  --chunks N    instead: recall behind filters and costs of a search among N chunks mixed from DIR's sentences
  --plot FILE   nDCG@10 of each with its interval, as SVG
  --help

EMBEDDING_MODEL, OPENAI_BASE_URL and OPENAI_API_KEY choose another embedder than the offline one.
`

/** Reads the command line; undefined when it asked for help, which is printed. Throws one line about what is wrong. */
export function readOptions(args: string[]) {
  const { values, positionals } = parseArgs({
    args,
    allowPositionals: true,
    options: {
      json: { type: 'string' },
      plot: { type: 'string' },
      chunks: { type: 'string' },
      help: { type: 'boolean', default: false },
    },
  })
  if (values.help) {
    console.log(help)
    return undefined
  }
  if (positionals.length > 1) throw new Error('one collection at a time: npm run eval -- [DIR]')
  const chunks = values.chunks === undefined ? undefined : Number(values.chunks)
  if (chunks !== undefined && !(Number.isInteger(chunks) && chunks >= 1000)) {
    throw new Error('--chunks takes a whole number from 1000 on')
  }
  return { ...values, chunks, folder: positionals[0] ?? ownCollection }
}
