/** The plan of a load on a server or a database. */
export type Load = {
  /** The URL of a server, or of a database, on which each client opens a connection and runs queries. */
  url: string
  /** Tokens per answer. */
  tokens: number
  intervalMs: number
  /** Steps of an answer in which the model calls a tool before it answers. Default: none. */
  calls?: number
  /** Whether the model's name contains the settings of answers (`describeAnswer`). Otherwise each question does. */
  isModelSet?: boolean
  /** Reads this path instead. All bodies must be equal. */
  path?: string
  /** Searches for the questions instead. */
  isSearch?: boolean
  /** The seed of the questions. Default: 1. */
  seed?: number
  /** A closed loop: clients start over `rampMs`, and send the next request when the previous one has ended. */
  clients: number
  rampMs: number
  /** The pause of a client between an answer and its next question. */
  thinkMs?: number
  /** An open loop instead: requests per second, whether or not earlier ones have ended. */
  perSecond?: number
  /** The time in which requests start. */
  seconds: number
  /** Requests still running after this additional time are abandoned. Default: the length of an answer plus 15 s. */
  patienceMs?: number
}

/** Returns the settings of the mock model for the answers of a load. */
export function describeAnswer({ tokens, intervalMs, calls = 0 }: Pick<Load, 'tokens' | 'intervalMs' | 'calls'>) {
  return [`tokens=${tokens}`, `interval=${intervalMs}`, `calls=${calls}`, 'clock=1']
}
