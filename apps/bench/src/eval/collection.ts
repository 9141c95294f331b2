import { createReadStream } from 'node:fs'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import { z } from 'zod'

const CorpusLine = z.object({ _id: z.string().min(1), title: z.string().default(''), text: z.string() })
const QueryLine = z.object({ _id: z.string().min(1), text: z.string().min(1) })

/** `relevance` contains the relevance of judged documents by id. */
type Query = { id: string; text: string; relevance: Map<string, number> }
export type Collection = { documents: z.output<typeof CorpusLine>[]; queries: Query[] }

class CollectionError extends Error {}

/**
 * Reads a collection in BEIR's layout: `corpus.jsonl`, `queries.jsonl`, `qrels/test.tsv`. Skips queries without a relevant
 * document, which cannot be measured. Throws a one-line error that names the file and line.
 */
export async function readCollection(folder: string): Promise<Collection> {
  const documents = await readJsonLines(join(folder, 'corpus.jsonl'), CorpusLine)
  const judgements = await readJudgements(join(folder, 'qrels/test.tsv'))
  const queries = (await readJsonLines(join(folder, 'queries.jsonl'), QueryLine)).flatMap(({ _id, text }) => {
    const relevance = judgements.get(_id)
    return relevance ? [{ id: _id, text, relevance }] : []
  })
  if (documents.length === 0 || queries.length === 0) {
    throw new CollectionError(`${folder} contains ${documents.length} documents and ${queries.length} judged queries`)
  }
  return { documents, queries }
}

async function readJsonLines<T>(file: string, schema: z.ZodType<T>): Promise<T[]> {
  const rows: T[] = []
  for await (const { line, number } of readLines(file)) {
    const row = schema.safeParse(parseJson(line))
    if (!row.success) throw new CollectionError(`${file}:${number} is not valid: ${row.error.issues[0]?.message}`)
    rows.push(row.data)
  }
  return rows
}

/** Reads tab-separated judgements: query, document, score. The first line is a header. */
async function readJudgements(file: string): Promise<Map<string, Map<string, number>>> {
  const judgements = new Map<string, Map<string, number>>()
  for await (const { line, number } of readLines(file)) {
    if (number === 1) continue
    const [query = '', document = '', score = ''] = line.split('\t')
    if (!document || !/^-?\d+$/.test(score.trim())) {
      throw new CollectionError(
        `${file}:${number} must contain a query id, a document id and a whole number, separated by tabs`,
      )
    }
    if (Number(score) <= 0) continue
    judgements.set(query, (judgements.get(query) ?? new Map<string, number>()).set(document, Number(score)))
  }
  return judgements
}

async function* readLines(file: string) {
  let number = 0
  try {
    for await (const line of createInterface({ input: createReadStream(file, 'utf8') })) {
      number += 1
      if (line.trim() !== '') yield { line, number }
    }
  } catch (error) {
    if (error instanceof CollectionError || number > 0) throw error
    throw new CollectionError(
      `${file} cannot be read. A collection consists of corpus.jsonl, queries.jsonl and qrels/test.tsv.`,
    )
  }
}

function parseJson(line: string): unknown {
  try {
    return JSON.parse(line)
  } catch {
    return undefined
  }
}
