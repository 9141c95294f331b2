import { type Part, post, readParts } from '@repo/testing/ui-stream'
import { afterAll, beforeAll, expect, it } from 'vitest'
import { testApp } from '../testing.ts'

const { app, alice, work, listen, close } = await testApp()
const url = await listen()
afterAll(close)

beforeAll(async () => {
  const crowd = Array.from({ length: 12 }, (_, n) => ({ title: `Price ${n}`, text: `Item ${n} will cost ${n} EUR.` }))
  const express = { title: 'Express', text: 'Express delivery takes one day and comes at 12 EUR.' }
  const preise = Array.from({ length: 12 }, (_, n) => ({ title: `Preis ${n}`, text: `Ware ${n} kostet ${n} Euro.` }))
  const eilboten = { title: 'Eilboten', text: 'Ein Eilbote braucht einen Tag und kommt auf 12 Euro.' }
  for (const payload of [...crowd, express, ...preise, eilboten]) {
    await app.inject({ method: 'POST', url: '/documents', headers: alice, payload })
  }
  await work()
})

const listTitles = (parts: Part[]) => parts.flatMap(({ type, title }) => (type === 'source-document' ? [title] : []))
const chat = async (body: object) => readParts(await post(`${url}/chat`, alice, body))
const followUp = 'and how much does it cost?'

it.each([
  ['Express', 'How long does express delivery take?', followUp],
  ['Express', 'How long does express delivery take?', 'What will it cost?'],
  ['Eilboten', 'Wie lange braucht ein Eilbote?', 'Und was kostet das?'],
  ['Eilboten', 'Wie lange braucht ein Eilbote?', 'Wie viel kostet er?'],
])('finds %s for a follow-up: %j %j', async (title, question, next) => {
  const conversationId = crypto.randomUUID()
  await chat({ conversationId, message: question })
  expect(listTitles(await chat({ conversationId, message: next }))).toContain(title)
  expect(listTitles(await chat({ message: next }))).not.toContain(title)
})

it('finds the document for a follow-up without keywords of its own', async () => {
  await chat({ conversationId: 'wordless', message: 'How long does express delivery take?' })
  expect(listTitles(await chat({ conversationId: 'wordless', message: 'How much is it?' }))[0]).toBe('Express')
})

it('ignores earlier questions when a question stands alone', async () => {
  await chat({ conversationId: 'new', message: 'How long does express delivery take?' })
  const titles = listTitles(await chat({ conversationId: 'new', message: 'How much does item 7 cost in total?' }))
  expect(titles[0]).toBe('Price 7')
  expect(titles).not.toContain('Express')
})

it('finds the same passages when the same question is asked alone', async () => {
  const titles = listTitles(await chat({ conversationId: 'alone', message: followUp }))
  expect(titles).not.toContain('Express')
})

it('works the same for clients of OpenAI’s API', async () => {
  const ask = async (...asked: string[]) => {
    const messages = asked.map((content) => ({ role: 'user', content }))
    const payload = { model: 'offline', messages }
    const response = await app.inject({ method: 'POST', url: '/v1/chat/completions', headers: alice, payload })
    return response.json().citations.map(({ title }: { title: string }) => title)
  }
  expect(await ask('How long does express delivery take?', followUp)).toContain('Express')
  expect(await ask(followUp)).not.toContain('Express')
})
