import { existsSync } from 'node:fs'
import { fileURLToPath } from 'node:url'
import files from '@fastify/static'
import type { FastifyInstance } from 'fastify'

/** Its own files and this API, and nothing else: no style or script in the text, no foreign picture, no HTML from a script. */
const pagePolicy =
  "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'; require-trusted-types-for 'script'; trusted-types 'none'"

const builtPage = fileURLToPath(new URL('../../../web/dist', import.meta.url))

const missingPage = `<!doctype html>
<html lang="en">
<title>Sluice</title>
<h1>The page is not built</h1>
<p><code>npm run build -w @repo/web</code>, then start again: <code>npm start</code> and Docker do that by themselves.</p>
<p>The API runs, and <a href="/docs">/docs</a> explains it.</p>
</html>
`

/** The page of apps/web at `/`; where it is not built, how to build it. Nothing else needs it. */
export default async function page(app: FastifyInstance, { folder = builtPage }: { folder?: string }) {
  const hidden = { schema: { hide: true } }
  if (!existsSync(`${folder}/index.html`)) {
    app.get('/', hidden, async (_request, reply) => reply.type('text/html; charset=utf-8').send(missingPage))
    return
  }
  await app.register(files, {
    root: `${folder}/assets`,
    prefix: '/assets/',
    preCompressed: true, // by the build
    immutable: true, // a file's name holds a hash of what is in it
    maxAge: '1y',
  })
  app.get('/', hidden, async (_request, reply) => {
    reply.header('content-security-policy', pagePolicy)
    return reply.sendFile('index.html', folder, { cacheControl: false })
  })
}
