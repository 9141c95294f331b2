import { getEventListeners } from 'node:events'
import type { AnswerEvent, ChatRequest, Passage } from '@repo/llm'
import { describe, expect, it } from 'vitest'
import { createOfflineChat } from './chat.ts'
import { readQuotes } from './quotes.ts'

const passages: Passage[] = [
  {
    n: 1,
    title: 'Handbook',
    text: 'Full backups are kept for 35 days. 退款将在仓库收到商品后三个工作日内退回原支付账户。',
  },
]
const askAbout = (content: string, over: Partial<ChatRequest> = {}): ChatRequest => ({
  messages: [{ role: 'user', content }],
  passages,
  signal: new AbortController().signal,
  ...over,
})

async function collect(request: ChatRequest): Promise<{ events: AnswerEvent[]; text: string }> {
  const events: AnswerEvent[] = []
  for await (const batch of await createOfflineChat({ wordIntervalMs: 0 }).stream(request)) events.push(...batch)
  return { events, text: events.map((event) => (event.type === 'text-delta' ? event.text : '')).join('') }
}

describe('createOfflineChat', () => {
  it('streams the answer in words and finishes once, with the usage', async () => {
    const { events, text } = await collect(askAbout('How long are backups kept?'))
    expect(text.startsWith('Full backups are kept for 35 days. [1]\n\n(Offline answer')).toBe(true)
    expect(events.slice(0, 2)).toEqual([
      { type: 'text-delta', text: 'Full' },
      { type: 'text-delta', text: ' backups' },
    ])
    expect(events.filter(({ type }) => type === 'finish')).toHaveLength(1)
    expect(events.at(-1)).toMatchObject({ finishReason: 'stop', usage: { outputTokens: Math.ceil(text.length / 4) } })
  })

  it('answers the question, not the passages before it in the same message', async () => {
    const question = 'How long are backups kept?'
    const { text } = await collect(askAbout(question))
    const before =
      'The passages below were found. Why is the sky blue? Because of the refund, which takes three days.\n\n'
    expect((await collect(askAbout(`${before}${question}`, { question }))).text).toBe(text)
  })

  it('streams Chinese in pieces too', async () => {
    const { events } = await collect(askAbout('退款需要多长时间？'))
    expect(events.slice(0, 2).map((event) => event.type === 'text-delta' && event.text)).toEqual([
      '退款将在仓库收到商品后三个工作日',
      '内退回原支付账户。',
    ])
  })

  it('rejects with the reason of an abort before the answer and in the middle of it, and leaves no listener', async () => {
    const reason = new Error('the client left')
    const chat = createOfflineChat({ wordIntervalMs: 1 })
    await expect(chat.stream(askAbout('backups', { signal: AbortSignal.abort(reason) }))).rejects.toBe(reason)

    const controller = new AbortController()
    const seen: AnswerEvent[] = []
    const read = async (): Promise<void> => {
      for await (const batch of await chat.stream(askAbout('backups', { signal: controller.signal }))) {
        seen.push(...batch)
        if (seen.length === 3) setTimeout(() => controller.abort(reason), 0)
      }
    }
    await expect(read()).rejects.toBe(reason)
    expect(seen.every(({ type }) => type === 'text-delta')).toBe(true)
    expect(getEventListeners(controller.signal, 'abort')).toEqual([])
  })

  it('leaves no listener on a signal that is never aborted, even when the reader stops early', async () => {
    const { signal } = new AbortController()
    for await (const [event] of await createOfflineChat({ wordIntervalMs: 1 }).stream(
      askAbout('backups', { signal }),
    )) {
      if (event?.type === 'text-delta') break
    }
    expect(getEventListeners(signal, 'abort')).toEqual([])
  })
})

const fragments = [
  ...[
    '\0',
    '\ud800',
    '\udfff',
    '🙂',
    '\u202e',
    'é',
    '\u0301',
    '退款',
    'الدوام',
    '\r\n',
    '\n',
    '\n\n',
    '\t',
    ' ',
    '```',
    '~~~',
    '`',
  ],
  ...[
    '# ',
    '## backup ',
    '- ',
    '1. ',
    '| ',
    '|---|',
    '> ',
    '**',
    '_',
    '[7]',
    '[1](x)',
    '![',
    '](',
    '<a ',
    '\\',
    '===\n',
    '...',
    '?',
    ':',
  ],
  ...[
    'backup',
    'backups are kept',
    ' because ',
    '35 days. ',
    'max_client_conn',
    'https://a.example/?q=1',
    'a'.repeat(3000),
    ' '.repeat(3000),
  ],
]

/** Numbers in [0, 1) that are the same in every run (mulberry32). */
function createRandom(seed: number): () => number {
  let state = seed
  return () => {
    state = (state + 0x6d2b79f5) | 0
    let mixed = Math.imul(state ^ (state >>> 15), state | 1)
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61)
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32
  }
}

describe('hostile input', () => {
  it('never throws, finishes exactly once, cites only what was given, and never sends NUL or half a character', async () => {
    const random = createRandom(7)
    const build = (most: number): string =>
      Array.from(
        { length: Math.floor(random() * most) },
        () => fragments[Math.floor(random() * fragments.length)] ?? '',
      ).join('')
    for (let round = 0; round < 200; round++) {
      const given = Array.from({ length: Math.floor(random() * 5) }, (_, index) => ({
        n: index + 1,
        title: build(5),
        text: build(60),
      }))
      const messages = [build(6), `${build(4)} how long are backups kept`].map(
        (content) => ({ role: 'user', content }) as const,
      )
      const { events, text } = await collect(
        askAbout('', { messages: messages.slice(round % 3 === 0 ? 0 : 1), passages: given }),
      )
      expect(events.filter(({ type }) => type === 'finish')).toEqual([events.at(-1)])
      expect(text.isWellFormed() && !text.includes('\0')).toBe(true)
      const cited = Array.from(text.matchAll(/\[(\d+)\]/g), ([, n]) => Number(n))
      expect(cited.every((n) => given.some((passage) => passage.n === n))).toBe(true)
    }
  })

  it('answers nothing from passages that are empty, only code or only headings', async () => {
    for (const text of ['', '   ', '# Backups\n\n## Kept', '```\nbackups[1] = kept[2]\n```']) {
      const { text: answer } = await collect(
        askAbout('How long are backups kept?', { passages: [{ n: 1, title: '', text }] }),
      )
      expect(answer).toContain('The documents do not say.')
    }
  })

  it('looks at a bounded part of a huge passage, whatever it is made of', () => {
    const bombs = [
      'backup ',
      '- backup\n',
      '| a ',
      '# ',
      '#\t \n',
      '[',
      '![',
      '`',
      '_a ',
      '**',
      '\n ',
      '- - - x',
      '!',
      '1. x.\n',
    ]
    for (const bomb of bombs) {
      const text = bomb.repeat(200_000 / bomb.length)
      const quotes = readQuotes({ n: 1, title: bomb.repeat(1000), text })
      expect(quotes.length).toBeLessThanOrEqual(8000)
      expect(quotes.every((quote) => quote.text.length <= 1300)).toBe(true)
    }
  })
})
