import { z } from 'zod'

const dayMs = 86_400_000
const maxDays = 366

const invalidDay = 'must be a date like 2026-11-30'
const Day = z.iso.date({ error: invalidDay, abort: true }).refine((day) => day > '0001', invalidDay) // Postgres has no year 0
const toDay = (time: number) => new Date(time).toISOString().slice(0, 10)

export const UsageQuery = z
  .object({
    from: Day.optional().meta({ description: 'The first day in UTC. Default: 29 days before `to`' }),
    to: Day.optional().meta({ description: 'The last day in UTC. Default: today' }),
    by: z
      .enum(['day', 'model'])
      .default('day')
      .meta({ description: 'One item per day, or per model and kind of call' }),
  })
  .refine((query) => countDays(query) > 0, { path: ['from'], error: 'must not be after `to`' })
  .refine((query) => countDays(query) <= maxDays, {
    path: ['from'],
    error: `must be at most ${maxDays} days before \`to\``,
  })

type Given = { from?: string | undefined; to?: string | undefined }

/** Returns the first and the last day, with the defaults. */
export function toDays({ from, to = toDay(Date.now()) }: Given): { from: string; to: string } {
  return { from: from ?? toDay(Date.parse(to) - 29 * dayMs), to }
}

function countDays(given: Given): number {
  const { from, to } = toDays(given)
  return (Date.parse(to) - Date.parse(from)) / dayMs + 1
}

const count = (description: string) => z.int().meta({ description })

const UsageItem = z
  .object({
    day: z.string().optional().meta({ description: 'With `by=day`' }),
    model: z.string().optional().meta({ description: 'With `by=model`' }),
    kind: z.enum(['chat', 'dialect', 'embedding', 'rerank']).optional().meta({
      description: "With `by=model`. `chat`: answers of `POST /chat` and titles. `dialect`: OpenAI's API below `/v1`",
    }),
    requests: count('Calls of models. An answer with tools is several'),
    inputTokens: count('Includes the cached ones'),
    cachedInputTokens: count("Read from the model server's prompt cache"),
    outputTokens: count('Includes reasoning'),
    reasoningTokens: count('As far as model servers report them'),
    toolCalls: count('Tool calls that models asked for'),
    estimated: count('Requests whose tokens were estimated, because the model server reported none'),
    cost: z.number().optional().meta({
      description: 'US dollars, for models with a price. Missing if none has one',
    }),
  })
  .meta({ id: 'UsageItem', description: 'What models were used for' })

export const UsageResponse = z.object({ items: z.array(UsageItem), from: z.string(), to: z.string() }).meta({
  description: 'What the owner used, up to about a second ago',
  examples: [
    {
      items: [
        {
          day: '2026-11-30',
          requests: 12,
          inputTokens: 18_400,
          cachedInputTokens: 9_200,
          outputTokens: 3_100,
          reasoningTokens: 800,
          toolCalls: 2,
          estimated: 0,
          cost: 0.0087,
        },
      ],
      from: '2026-11-01',
      to: '2026-11-30',
    },
  ],
})
