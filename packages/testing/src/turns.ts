import { fileURLToPath } from 'node:url'
import { z } from 'zod'
import { type startProgram, until } from './processes.ts'

const Turns = z.object({
  /** The longest turn of the event loop, in ms of the main thread's CPU, with and without garbage collection. */
  longestMs: z.number(),
  longestWithoutGcMs: z.number(),
  /** The longest garbage collection, in ms of elapsed time. */
  longestGcMs: z.number(),
  /** CPU of the whole process, in ms. */
  processCpuMs: z.number(),
  /** Growth of the memory in use, at its peak. Counted only with `--expose-gc`, which makes turns longer. */
  heldBytes: z.number(),
})
export type Turns = z.output<typeof Turns>

/** Node options for a program whose turns are to be measured. */
export const measureTurns = ['--import', fileURLToPath(new URL('measure-turns.ts', import.meta.url))]

/** Returns what a program measured since the last call. */
export async function readTurns({
  child,
  logs,
}: Pick<ReturnType<typeof startProgram>, 'child' | 'logs'>): Promise<Turns> {
  const findReports = () => logs().filter(({ msg }) => msg === 'event loop turns')
  const before = findReports().length
  child.kill('SIGWINCH')
  return Turns.parse(await until(() => findReports()[before]))
}

/** Returns the CPU that encoding 8 MB of text takes on this machine, in ms. Limits of CPU time are multiples of it. */
export function measureReferenceMs(): number {
  const text = 'a'.repeat(4 * 1024 * 1024) + '\u00e4'.repeat(2 * 1024 * 1024)
  const runs = Array.from({ length: 5 }, () => {
    const before = process.threadCpuUsage()
    Buffer.from(text)
    const { user, system } = process.threadCpuUsage(before)
    return (user + system) / 1000
  })
  return Math.max(4, Math.min(...runs)) // Linux counts CPU in ticks of 4 ms
}
