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
