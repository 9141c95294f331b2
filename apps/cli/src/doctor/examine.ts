import type { DoctorConfig } from '@repo/config'
import { getErrorMessage } from '../command.ts'

type Level = 'ok' | 'warn' | 'FAIL' | 'skip'
export type Finding = { level: Level; what: string; fix?: string }
export type Check = {
  name: string
  /** Checks that must succeed first. If one of them fails, this check is skipped. */
  needs?: string[]
  /** An error that it throws becomes a `FAIL`. `signal` is aborted after five seconds. */
  run: (config: DoctorConfig, signal: AbortSignal) => Finding[] | Promise<Finding[]>
  /** The fix to suggest when `run` throws. */
  fix?: string
}

const deadlineMs = 5000 // a healthy check takes milliseconds, a remote model a second or two

/** The finding of a check that exceeds its deadline. */
export const noResponse = `no response within ${deadlineMs / 1000} s`

/** Thrown by a check that cannot run. `message` is the reason. */
class SkippedError extends Error {}

export const ok = (what: string): Finding => ({ level: 'ok', what })
export const warn = (what: string, fix: string): Finding => ({ level: 'warn', what, fix })
export const fail = (what: string, fix?: string): Finding => ({ level: 'FAIL', what, ...(fix && { fix }) })

/** Runs the checks one after the other and yields one line per finding. Does not throw. */
export async function* examine(checks: Check[], config: DoctorConfig): AsyncGenerator<{ level: Level; line: string }> {
  const failed = new Set<string>()
  for (const check of checks) {
    const cause = check.needs?.find((name) => failed.has(name))
    const findings = cause ? [skip(`requires ${cause} (see above)`)] : await runCheck(check, config)
    if (findings.some(({ level }) => level === 'FAIL' || level === 'skip')) failed.add(check.name)
    for (const { level, what, fix } of findings) {
      const text = fix ? `${what.replace(/\.$/, '')}. Fix: ${fix}` : what
      yield { level, line: `${level.padEnd(4)}  ${check.name}: ${text}` }
    }
  }
}

async function runCheck({ run, fix }: Check, config: DoctorConfig): Promise<Finding[]> {
  const signal = AbortSignal.timeout(deadlineMs)
  try {
    return await run(config, signal)
  } catch (error) {
    if (error instanceof SkippedError) return [skip(error.message)]
    return [fail(signal.aborted ? noResponse : getErrorMessage(error), fix)]
  }
}

function skip(what: string): Finding {
  return { level: 'skip', what }
}

/** Returns the value. Throws `SkippedError` if it is undefined. */
export function required<T>(value: T | undefined, name: string): T {
  if (value === undefined) throw new SkippedError(`${name} is not set or invalid`)
  return value
}

/** Checks that `version` is at least `minimum`. */
export function checkVersion(what: string, version: string, minimum: string, fix: string): Finding {
  const isSupported = version.localeCompare(minimum, 'en', { numeric: true }) >= 0
  return isSupported ? ok(`${what} ${version}`) : fail(`${what} ${version} is too old (minimum: ${minimum})`, fix)
}
