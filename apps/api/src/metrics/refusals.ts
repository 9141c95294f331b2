import { Counter, type Registry } from '@prometheus-io/client'

const ownCodes = [
  ...['rate_limited', 'owner_stream_limit', 'token_budget'], // 429
  ...['too_many_streams', 'overloaded', 'shutting_down', 'database_unavailable'], // 503
]

/** Returns a function to call with the error code of each request that is refused with 429 or 503. */
export function measureRefusals(registry: Registry): (code: string) => void {
  const refusals = new Counter({
    name: 'sluice_refused_requests_total',
    help: 'Requests that were answered with 429 or 503, by error code. token_budget: the tokens of the day are used up.',
    labelNames: ['code'],
    registers: [registry],
  })
  for (const code of ownCodes) refusals.inc({ code }, 0)
  return (code) => refusals.inc({ code })
}
