import { sql } from 'drizzle-orm'
import { describe, expect, it } from 'vitest'
import { createConversationSearch } from './search-conversations.ts'
import { createScene } from './testing-turns.ts'

const { conversations, answeredTurn, owner, owners, turns, db } = await createScene()

/** Stores a conversation of one question. Its title is "a title". */
const tell = async (question: string) => (await answeredTurn(undefined, question)).conversationId
const find = async (query: string) => (await conversations.search(owner, query, 100)).found.map(({ id }) => id)

describe('a conversation is found', () => {
  it.each([
    ['English, by parts of words and in any case', 'When does the OFFICE open?', 'office'],
    ['English, with the words in any order', 'The heron sleeps on one leg', 'leg HERON'],
    ['German', 'Die Bürgeramtöffnungszeiten gelten nur im Märzen', 'ÖFFNUNGSZEIT'],
    ['Russian', 'Где находится Эрмитаж?', 'эрмитаж'],
    ['Greek', 'Πού είναι η Ακρόπολη;', 'ΑΚΡΌΠΟΛΗ'],
    ['Turkish', 'Kütüphane nerede?', 'kütüphane'],
    ['Arabic', 'متى يفتح المكتب أبوابه؟', 'مكتب'],
    ['Chinese, by two characters', '办公室什么时候开门？', '开门'],
    ['Japanese', '図書館は何時に開きますか', '図書館'],
    ['Thai', 'ห้องสมุดเปิดกี่โมง', 'สมุดเปิด'],
    ['Korean, without the particle', '도서관에서 책을 빌릴 수 있나요?', '도서관'],
    ['Korean, decomposed in the query', '박물관은 어디에 있나요?', '박물관'.normalize('NFD')],
    ['an emoji', 'Where can I swim? 🏊', '🏊'],
    ['the wildcards of LIKE', String.raw`It costs 100% of a_b in C:\temp`, String.raw`100% a_b c:\temp`],
    ['quotes', `She said "it's done"`, `"it's`],
  ])('%s', async (_, question, query) => {
    const id = await tell(question)
    expect(await find(query)).toEqual([id])
  })

  it('by its answer, by its title, and by words of which each is in another message', async () => {
    const { conversationId: id } = await answeredTurn(undefined, 'kingfisher')
    await answeredTurn(id, 'cormorant')
    await conversations.rename(owner, id, 'Birds of the Danube')
    for (const query of ['danube', 'answer to kingfisher', 'KINGFISHER danube cormorant'])
      expect(await find(query)).toEqual([id])
    expect(await find('kingfisher danube pelican')).toEqual([])
  })

  it('only by its owner', async () => {
    await tell('a secret capybara')
    expect((await conversations.search(await owners.ensure('bob'), 'capybara', 100)).found).toEqual([])
  })
})

it.each(['%', '_', String.raw`\\`, 'zyzzyva', 'opens'])(
  'nothing is found for "%s", which no text contains',
  async (query) => {
    const literal = await owners.ensure(`literal ${query}`)
    const turn = {
      conversationId: 'c',
      title: 'a title',
      questionId: 'q',
      question: 'When does it open?',
      answerId: 'a',
    }
    await turns.open(literal, turn)
    expect((await conversations.search(literal, 'OPEN', 100)).found).toHaveLength(1)
    expect((await conversations.search(literal, query, 100)).found).toEqual([])
  },
)

describe('pages', async () => {
  const many = await owners.ensure('many')
  /** 1,000 conversations with the same time of activity in groups of ten; the words `rare` and `even` are in some. */
  await db.execute(sql`
    with added as (
      insert into conversations (owner_id, id, title, updated_at)
      select ${many}, 'c' || n, 'number ' || n, timestamptz '2026-01-01' + n / 10 * interval '1 second'
      from generate_series(1, 1000) as n returning id, title
    )
    insert into messages (owner_id, conversation_id, id, role, status, content)
    select ${many}, id, 'q', 'user', 'complete',
      case when id in ('c2', 'c950') then 'rare' when right(id, 1) in ('0', '2', '4', '6', '8') then 'even' else 'odd' end
    from added`)

  async function collect(query: string, limit: number) {
    const ids: string[] = []
    for (let after: { time: string; id: string } | undefined; ; ) {
      const { found, next } = await conversations.search(many, query, limit, after)
      ids.push(...found.map(({ id }) => id))
      const last = found.at(-1)
      if (found.length < limit || !last) return { ids, next }
      after = { time: last.updatedAt.toISOString(), id: last.id }
    }
  }

  it('contain all matches, each once and newest first, across windows of the search', async () => {
    const { ids, next } = await collect('even', 30)
    expect(new Set(ids).size).toBe(498)
    expect(ids).toHaveLength(498)
    const tens = ids.map((id) => Math.floor(Number(id.slice(1)) / 10))
    expect(tens).toEqual(tens.toSorted((a, b) => b - a))
    expect(next).toBeUndefined()
  })

  it('reach the oldest conversation', async () => {
    expect((await collect('rare', 30)).ids).toEqual(['c950', 'c2'])
  })

  it('end early, with the position to continue from, when the search takes long', async () => {
    const { search } = createConversationSearch(db, 0)
    const pages = [await search(many, 'rare', 30)]
    for (let next = pages[0]?.next; next; next = pages.at(-1)?.next) pages.push(await search(many, 'rare', 30, next))
    expect(pages.map(({ found }) => found.map(({ id }) => id))).toEqual([['c950'], [], [], [], ['c2'], []])
  })
})

it.for([
  ['English', 'abcdefghij'],
  ['Russian', 'абцдефгхий'],
  ['Chinese', '办公室什么时候开门吗'],
])('10,000 messages of one owner are searched: %s', async ([language, letters = ''], { annotate }) => {
  const reader = await owners.ensure(`reads ${language}`)
  await db.execute(sql`
    with added as (
      insert into conversations (owner_id, id, title) select ${reader}, 'c' || n, 'a title' from generate_series(1, 1000) as n
      returning id
    ), words as (
      select string_agg(translate(md5(n::text), '0123456789', ${letters}), ' ') as text from generate_series(1, 100) as n
    )
    insert into messages (owner_id, conversation_id, id, role, status, content)
    select ${reader}, added.id, 'm' || n, case when n % 2 = 0 then 'assistant' else 'user' end, 'complete',
      substr(text, 1 + hashtext(added.id || n) % 1000 + 1000, case when n % 2 = 0 then 1500 else 100 end)
    from added, words, generate_series(1, 10) as n`)
  const startedAt = performance.now()
  expect((await conversations.search(reader, letters.repeat(2), 100)).found).toEqual([])
  await annotate(
    `${language}: ${Math.round(performance.now() - startedAt)} ms for 10,000 messages, 8 million characters`,
  )
})
