import { afterAll, beforeAll, expect, it } from 'vitest'
import { type Part, post, readParts, testApp } from '../testing.ts'

const { app, alice, work, listen, close } = await testApp()
const url = await listen()
afterAll(close)

beforeAll(async () => {
  const crowd = Array.from({ length: 12 }, (_, n) => ({ title: `Price ${n}`, text: `Item ${n} will cost ${n} EUR.` }))
  const express = { title: 'Express', text: 'Express delivery takes one day and comes at 12 EUR.' }
  for (const payload of [...crowd, express]) {
    await app.inject({ method: 'POST', url: '/documents', headers: alice, payload })
  }
  await work()
})

const listTitles = (parts: Part[]) => parts.flatMap(({ type, title }) => (type === 'source-document' ? [title] : []))
const chat = async (body: object) => readParts(await post(`${url}/chat`, alice, body))
const followUp = 'and how much does it cost?'

it('finds for a follow-up what the question before it was about', async () => {
  await chat({ conversationId: 'express', message: 'How long does express delivery take?' })
  expect(listTitles(await chat({ conversationId: 'express', message: followUp }))).toContain('Express')
})

it('finds for the same words alone what they say', async () => {
  const titles = listTitles(await chat({ conversationId: 'alone', message: followUp }))
  expect(titles).not.toContain('Express')
})

it('does so for clients of OpenAI’s API too', async () => {
  const ask = async (...asked: string[]) => {
    const messages = asked.map((content) => ({ role: 'user', content }))
    const payload = { model: 'offline', messages }
    const response = await app.inject({ method: 'POST', url: '/v1/chat/completions', headers: alice, payload })
    return response.json().citations.map(({ title }: { title: string }) => title)
  }
  expect(await ask('How long does express delivery take?', followUp)).toContain('Express')
  expect(await ask(followUp)).not.toContain('Express')
})
