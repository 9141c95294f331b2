import { z } from 'zod'

/**
 * Like `schema.safeParse`, but null counts as absent in optional fields, because many clients send it for a value that is
 * not set. A field whose schema accepts null keeps it, and so does an entry of a record.
 */
export function safeParse<Schema extends z.ZodType>(
  schema: Schema,
  value: unknown,
): z.ZodSafeParseResult<z.output<Schema>> {
  const parsed = schema.safeParse(value)
  return parsed.success ? parsed : schema.safeParse(dropNulls(schema, value))
}

/** Returns a value without the fields that are null and that its schema requires to be absent instead. */
export function dropNulls(schema: unknown, value: unknown): unknown {
  if (value === null || typeof value !== 'object') return value
  if (schema instanceof z.ZodOptional || schema instanceof z.ZodNullable || schema instanceof z.ZodDefault)
    return dropNulls(schema.unwrap(), value)
  if (schema instanceof z.ZodPipe) return dropNulls(schema.in, value)
  if (schema instanceof z.ZodUnion) {
    const values = schema.options.map((option) => [option, dropNulls(option, value)] as const)
    return values.find(([option, candidate]) => z.safeParse(option, candidate).success)?.[1] ?? value
  }
  if (Array.isArray(value))
    return schema instanceof z.ZodArray ? value.map((item) => dropNulls(schema.element, item)) : value
  return schema instanceof z.ZodObject ? dropNullFields(schema.shape, value) : value
}

function dropNullFields(shape: Record<string, unknown>, value: object): object {
  const entries = Object.entries(value).flatMap(([name, item]) => {
    const field = Object.hasOwn(shape, name) ? shape[name] : undefined
    if (!(field instanceof z.ZodType)) return [[name, item]]
    const isDropped = item === null && !field.safeParse(null).success && field.safeParse(undefined).success
    return isDropped ? [] : [[name, dropNulls(field, item)]]
  })
  return Object.fromEntries(entries)
}
