import { canSharePort, listenMore } from '@repo/listen'
import type { FastifyInstance } from 'fastify'
import type { Config } from './config.ts'

/** Listens until the app is closed. Gives the address. */
export async function listen(app: FastifyInstance, { HOST, PORT }: Pick<Config, 'HOST' | 'PORT'>): Promise<string> {
  let end = async () => {}
  let ended: Promise<void> | undefined
  app.addHook('preClose', async () => {
    ended = end() // not awaited: idle connections are closed after this
  })
  app.addHook('onClose', () => ended)
  const options = { host: HOST, port: PORT, reusePort: canSharePort } // passed on to node:net whole; its type lacks the last
  const address = await app.listen(options)
  end = await listenMore(app.server)
  return address
}
