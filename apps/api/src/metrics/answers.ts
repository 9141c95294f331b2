import { Counter, Gauge, Histogram, type Registry } from '@prometheus-io/client'
import type { MeasuredAnswer } from '@repo/telemetry'

/** Seconds. Common objectives (0.3, 0.5, 1 and 2 s) are bucket edges. Reasoning models take minutes. */
const firstTokenBuckets = [0.05, 0.1, 0.2, 0.3, 0.5, 0.75, 1, 1.5, 2, 3, 5, 10, 30, 60, 120]
const statuses = ['complete', 'stopped', 'interrupted', 'failed'] as const

/** Returns a function to call with each answer that starts. Deltas are counted by the answers, not here. */
export function measureAnswers(registry: Registry): (answer: MeasuredAnswer) => void {
  const running = new Set<MeasuredAnswer>()
  let endedDeltas = 0
  const registers = [registry]
  new Gauge({
    name: 'sluice_open_streams',
    help: 'Answers being generated. MAX_STREAMS limits them per process.',
    registers,
    collect() {
      this.set(running.size)
    },
  })
  new Counter({
    name: 'sluice_answer_deltas_total',
    help: 'Deltas sent by models, usually one per token.',
    registers,
    collect() {
      this.reset()
      this.inc(running.values().reduce((total, { deltas }) => total + deltas, endedDeltas))
    },
  })
  const answers = new Counter({
    name: 'sluice_answers_total',
    help: 'Ended answers by status.',
    labelNames: ['status'],
    registers,
  })
  for (const status of statuses) answers.inc({ status }, 0)
  const firstToken = new Histogram({
    name: 'sluice_time_to_first_token_seconds',
    help: 'Time from the request to the first delta of its answer, including retrieval. Observed when the answer ends.',
    buckets: firstTokenBuckets,
    registers,
  })

  const countEnd = ({ end, startedAt, firstDeltaAt, deltas }: MeasuredAnswer) => {
    endedDeltas += deltas
    if (firstDeltaAt !== undefined) firstToken.observe((firstDeltaAt - startedAt) / 1000)
    if (end) answers.inc({ status: end.status })
  }

  return (answer) => {
    running.add(answer)
    void answer.ended.then(() => {
      running.delete(answer)
      countEnd(answer)
    })
  }
}
