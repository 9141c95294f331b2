import type { Config } from '@repo/config'
import { canSharePort, type Listening, listenMore } from '@repo/listen'
import type { FastifyInstance } from 'fastify'

/** Listens until the app is closed. Returns the address. */
export async function listen(app: FastifyInstance, { HOST, PORT }: Pick<Config, 'HOST' | 'PORT'>): Promise<string> {
  let listening: Listening | undefined
  app.addHook('preClose', async () => listening?.stop())
  app.addHook('onClose', () => listening?.ended)
  const options = { host: HOST, port: PORT, reusePort: canSharePort } // Fastify's type lacks reusePort, but it is passed on
  const address = await app.listen(options)
  listening = await listenMore(app.server)
  return address
}
