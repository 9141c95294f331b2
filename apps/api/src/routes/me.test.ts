import { createKey } from '@repo/db'
import { expect, it, onTestFinished } from 'vitest'
import { testApp } from '../testing.ts'

const post = { method: 'POST', url: '/documents', payload: { title: 'Diary', text: 'Dear diary.' } } as const
const ask = { method: 'POST', url: '/chat', payload: { message: 'Well?' } } as const

it('deletes everything of the caller, and nothing of others', async () => {
  const { app, store, alice, bob, work, close } = await testApp()
  onTestFinished(close)
  const second = { authorization: `Bearer ${await createKey(store, 'alice')}` }
  for (const headers of [alice, bob]) {
    for (let n = 0; n < 60; n += 1) {
      await app.inject({ ...post, headers, payload: { title: `${n}`, text: 'Dear diary.' } })
    }
    await app.inject({ ...ask, headers })
  }
  await work()
  const { statusCode, body } = await app.inject({ method: 'DELETE', url: '/me', headers: alice })
  expect([statusCode, body]).toEqual([204, ''])
  for (const headers of [alice, second]) {
    expect((await app.inject({ url: '/documents', headers })).statusCode).toBe(401)
  }
  const renewed = { authorization: `Bearer ${await createKey(store, 'alice')}` }
  for (const url of ['/documents', '/conversations']) {
    expect((await app.inject({ url, headers: renewed })).json().items).toEqual([])
    expect((await app.inject({ url, headers: bob })).json().items).not.toEqual([])
  }
})

it('with AUTH=off, leaves the local owner usable', async () => {
  const { app, close } = await testApp({ environment: { AUTH: 'off' } })
  onTestFinished(close)
  await app.inject(post)
  await app.inject(ask)
  expect((await app.inject({ method: 'DELETE', url: '/me' })).statusCode).toBe(204)
  for (const url of ['/documents', '/conversations']) expect((await app.inject(url)).json().items).toEqual([])
  expect((await app.inject(post)).statusCode).toBe(202)
})

it('ends the keys of an owner who is named like the local one', async () => {
  const { app, store, close } = await testApp()
  onTestFinished(close)
  const headers = { authorization: `Bearer ${await createKey(store, 'local')}` }
  expect((await app.inject({ method: 'DELETE', url: '/me', headers })).statusCode).toBe(204)
  expect((await app.inject({ url: '/documents', headers })).statusCode).toBe(401)
})
