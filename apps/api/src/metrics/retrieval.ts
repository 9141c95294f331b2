import { Counter, type Registry } from '@prometheus-io/client'
import type { RetrievalFailure } from '@repo/rag'

const stages: RetrievalFailure['stage'][] = ['embedder', 'reranker']

/** Returns a function to call with each model that a search went on without. */
export function measureRetrieval(registry: Registry): (stage: RetrievalFailure['stage']) => void {
  const failures = new Counter({
    name: 'sluice_retrieval_failures_total',
    help: 'Searches without a model that failed or was slow. Without `embedder` they are by keyword only.',
    labelNames: ['stage'],
    registers: [registry],
  })
  for (const stage of stages) failures.inc({ stage }, 0)
  return (stage) => failures.inc({ stage })
}
