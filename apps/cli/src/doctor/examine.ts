import type { DoctorConfig } from '@repo/config'
import { explain } from '../command.ts'

type Level = 'ok' | 'warn' | 'FAIL' | 'skip'
export type Finding = { level: Level; what: string; mend?: string }
export type Check = {
  name: string
  /** Checks without whose success this one would say nothing new: then it is skipped. */
  needs?: string[]
  /** What it throws is a `FAIL`. It heeds the signal, which is aborted after five seconds. */
  run: (config: DoctorConfig, signal: AbortSignal) => Finding[] | Promise<Finding[]>
  /** What to do when it throws. */
  mend?: string
}

const deadlineMs = 5000 // a healthy check takes milliseconds, a model that answers from afar a second or two

/** A check that cannot be made throws this; `message` says why. */
class SkippedError extends Error {}

export const ok = (what: string): Finding => ({ level: 'ok', what })
export const warn = (what: string, mend: string): Finding => ({ level: 'warn', what, mend })
export const fail = (what: string, mend?: string): Finding => ({ level: 'FAIL', what, ...(mend && { mend }) })

/** Makes one check after the other, and gives each finding as a line. Throws nothing. */
export async function* examine(checks: Check[], config: DoctorConfig): AsyncGenerator<{ level: Level; line: string }> {
  const unsound = new Set<string>()
  for (const check of checks) {
    const cause = check.needs?.find((name) => unsound.has(name))
    const findings = cause ? [skip(`needs ${cause}, see above`)] : await make(check, config)
    if (findings.some(({ level }) => level === 'FAIL' || level === 'skip')) unsound.add(check.name)
    for (const { level, what, mend } of findings) {
      const advice = mend ? `${what.replace(/\.$/, '')}. To mend it: ${mend}` : what
      yield { level, line: `${level.padEnd(4)}  ${check.name}: ${advice}` }
    }
  }
}

async function make({ run, mend }: Check, config: DoctorConfig): Promise<Finding[]> {
  const signal = AbortSignal.timeout(deadlineMs)
  try {
    return await run(config, signal)
  } catch (error) {
    if (error instanceof SkippedError) return [skip(error.message)]
    return [fail(signal.aborted ? `no answer within ${deadlineMs / 1000} s` : explain(error), mend)]
  }
}

function skip(what: string): Finding {
  return { level: 'skip', what }
}

/** Throws `SkippedError` where there is no value to make the check with. */
export function given<T>(value: T | undefined, name: string): T {
  if (value === undefined) throw new SkippedError(`${name} is not set, or wrong`)
  return value
}

export function checkVersion(what: string, version: string, least: string, mend: string): Finding {
  const isEnough = version.localeCompare(least, 'en', { numeric: true }) >= 0
  return isEnough ? ok(`${what} ${version}`) : fail(`${what} ${version} is too old: ${least} or newer is needed`, mend)
}
