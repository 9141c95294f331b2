import type { z } from 'zod'

/** The environment is invalid. `message` has one line per variable with its name and the expected value. */
export class ConfigError extends Error {
  code = 'invalid_environment' as const

  constructor(lines: string[]) {
    super(lines.join('\n'))
    this.name = 'ConfigError'
  }
}

/** Returns the error of these issues. */
export function toConfigError(issues: z.core.$ZodIssue[]): ConfigError {
  return new ConfigError(issues.map((issue) => `${issue.path.join('.')} ${describeIssue(issue)}`))
}

function describeIssue(issue: z.core.$ZodIssue): string {
  if (issue.code === 'invalid_type' && issue.input === undefined) return `is not set. It ${issue.message}`
  if (issue.code === 'invalid_value') return `must be ${issue.values.join(' or ')}`
  if (issue.code === 'too_small') return `must be at least ${issue.minimum}`
  if (issue.code === 'too_big') return `must be at most ${issue.maximum}`
  if (issue.code === 'invalid_type') return `must be a whole ${issue.expected === 'int' ? 'number' : issue.expected}`
  return issue.message
}
