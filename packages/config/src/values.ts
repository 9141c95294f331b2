import { z } from 'zod'

/** A text that may be missing. An empty one is missing, too. */
export const optional = z
  .string()
  .optional()
  .transform((value) => value || undefined)

/** A whole number from `min` to `max`. */
export const integer = (min: number, max: number) => z.coerce.number().int().min(min).max(max)

/** The URL of a model server or another HTTP server. */
export const httpUrl = z.url({ protocol: /^https?$/, error: 'must be a URL like https://api.openai.com/v1' })

const noKey = 'must be the key alone: printable ASCII characters without blanks. Copy it again'

/** A key that is sent in an HTTP header. Node would reject it in each request otherwise. */
export const secret = optional.refine((value) => value === undefined || /^[\x21-\x7e]+$/.test(value), noKey)

/** Values whose blanks and quotes count, or that a library reads from the environment itself. */
const verbatim = /_PREFIX$|^SYSTEM_PROMPT$|^OTEL_/

/**
 * Removes what secrets mounted as files and `docker run --env-file` leave around values: blanks, line breaks, a byte
 * order mark and a pair of quotes. Drops empty variables: Compose passes `NAME=` for each that the user did not set.
 */
export function cleanEnvironment(environment: NodeJS.ProcessEnv): NodeJS.ProcessEnv {
  const clean = (name: string, value = '') => (verbatim.test(name) ? value : unquote(value.trim()))
  const entries = Object.entries(environment).map(([name, value]) => [name, clean(name, value)] as const)
  return Object.fromEntries(entries.filter(([, value]) => value.trim() !== ''))
}

function unquote(value: string): string {
  return value.match(/^(["'])(.*)\1$/s)?.[2]?.trim() ?? value
}
