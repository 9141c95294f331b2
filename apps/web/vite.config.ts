import { readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { brotliCompressSync, constants, gzipSync } from 'node:zlib'
import { defineConfig, type Plugin } from 'vite'

const maxFirstLoad = 200_000 // compressed bytes: one second on a slow phone with 1.6 Mbit/s

/** Writes compressed copies of each file, and reports the size of the first load. Fails if it exceeds the limit. */
const compress: Plugin = {
  name: 'compress',
  writeBundle({ dir = '' }, bundle) {
    const sizes = Object.keys(bundle).map((name) => {
      const content = readFileSync(join(dir, name))
      const params = { [constants.BROTLI_PARAM_QUALITY]: constants.BROTLI_MAX_QUALITY }
      const [brotli, gzip] = [brotliCompressSync(content, { params }), gzipSync(content, { level: 9 })]
      writeFileSync(join(dir, `${name}.br`), brotli)
      writeFileSync(join(dir, `${name}.gz`), gzip)
      return gzip.length
    })
    const firstLoad = sizes.reduce((sum, size) => sum + size, 0)
    this.info(`first load: ${(firstLoad / 1000).toFixed(1)} kB with gzip (limit: ${maxFirstLoad / 1000} kB)`)
    if (firstLoad > maxFirstLoad) this.error(`The first load is ${firstLoad} bytes. The limit is ${maxFirstLoad}.`)
  },
}

export default defineConfig({
  base: './', // the page also works under a path, such as https://example.com/chat/
  build: {
    target: 'es2023',
    assetsInlineLimit: 0, // the security policy forbids data: URLs, except for images
    modulePreload: { polyfill: false },
  },
  plugins: [compress],
})
