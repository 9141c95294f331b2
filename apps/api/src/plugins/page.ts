import { existsSync } from 'node:fs'
import { fileURLToPath } from 'node:url'
import files from '@fastify/static'
import type { FastifyInstance } from 'fastify'

/**
 * Allows only the page's own files and this API: no inline styles or scripts, no external images, no HTML set by scripts.
 * `data:` shows the images that users attach.
 */
const pagePolicy =
  "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'; require-trusted-types-for 'script'; trusted-types 'none'"

const builtPage = fileURLToPath(new URL('../../../web/dist', import.meta.url))

const missingPage = `<!doctype html>
<html lang="en">
<title>Sluice</title>
<h1>The page is not built</h1>
<p>Run <code>npm run build -w @repo/web</code> and restart. <code>npm start</code> and the Docker image build it for you.</p>
<p>The API is running. Its documentation is at <a href="docs">docs</a>.</p>
</html>
`

/** Serves the page of apps/web at `/`, or build instructions when it is not built. Nothing else depends on it. */
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
    immutable: true, // file names contain a hash of the content
    maxAge: '1y',
  })
  app.get('/', hidden, async (_request, reply) => {
    reply.header('content-security-policy', pagePolicy)
    return reply.sendFile('index.html', folder, { cacheControl: false })
  })
}
