import { mkdirSync } from 'node:fs'
import { readModelConfig } from '@repo/config'
import { createModels } from '@repo/models'
import { runEvaluation } from '../../apps/bench/src/eval/evaluation.ts'
import { readOptions } from '../../apps/bench/src/eval/options.ts'
import { runScale } from '../../apps/bench/src/eval/scale.ts'
import { onStopRequest, takeLock } from './processes.ts'
import { startStack } from './stack.ts'

// npm run eval: measures retrieval quality on its own temporary stack.

const folder = '.data/eval'
const stopping = new AbortController()
const { signal } = stopping

async function main(args: string[]): Promise<void> {
  const options = readOptions(args)
  if (!options) return
  onStopRequest(() => stopping.abort())
  mkdirSync('.data', { recursive: true })
  if (!takeLock(`${folder}.lock`)) throw new Error('an evaluation is already running')
  const { embedder, reranker } = createModels(readModelConfig())
  const stack = await startStack({ directory: folder, throwAway: true, report: console.error, signal })
  try {
    const target = { ...stack, embedder, reranker }
    const { chunks, members } = options
    if (chunks) await runScale(options.folder, { chunks, members }, target, folder)
    else await runEvaluation(options, target, signal)
  } finally {
    await stack.stop()
  }
}

main(process.argv.slice(2)).then(
  () => process.exit(0),
  (error) => {
    if (!signal.aborted) console.error((error.cause ?? error).message) // Drizzle's own message is the whole query
    process.exit(signal.aborted ? 130 : 1)
  },
)
