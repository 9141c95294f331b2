const minuteMs = 60_000
const units: Record<string, number> = { m: minuteMs, h: 60 * minuteMs, d: 24 * 60 * minuteMs }

/** Parses a duration such as `30m`, `24h` or `90d`. Returns milliseconds, or undefined for anything else. */
export function parseDuration(text: string): number | undefined {
  const [, amount, unit = ''] = /^(\d{1,5})([mhd])$/.exec(text) ?? []
  return amount === undefined ? undefined : Number(amount) * (units[unit] ?? 0)
}

/** Returns when a key expires: after a duration, or on a date, which begins at midnight UTC. Throws unless it is later. */
export function parseExpiry(text: string, now = Date.now()): Date {
  const durationMs = parseDuration(text)
  const time = durationMs === undefined ? parseTime(text) : new Date(now + durationMs)
  if (!time) throw new Error(`Invalid expiry "${text}". Use a duration like 90d or 12h, or a date like 2027-01-31.`)
  if (time.getTime() <= now) throw new Error(`The expiry ${text} has passed. Use a later one.`)
  return time
}

/** Parses a date, or a time with its zone, in ISO 8601. */
function parseTime(text: string): Date | undefined {
  const [, day] = /^(\d{4}-\d\d-\d\d)(?:T\d\d:\d\d(?::\d\d)?(?:Z|[+-]\d\d:\d\d))?$/.exec(text) ?? []
  const isDay = day !== undefined && !Number.isNaN(Date.parse(day)) && new Date(day).toISOString().startsWith(day) // not February 30
  const time = new Date(text)
  return isDay && !Number.isNaN(time.getTime()) ? time : undefined
}

/** Formats a time to the second, in UTC. */
export function formatTime(time: Date | null): string {
  return time ? time.toISOString().replace(/\.\d+/, '') : '-'
}
