import type { Part } from '../part.ts'

export const part: Part = {
  description: 'the chat page',
  files: ['apps/web', 'infra/local/page.ts'],
  edits: {
    'README.md': ['![', 'web/ '],
    'docs/measurements.md': ['To watch it live,', '| first load of the page'],
    'docs/sign-in.md': [
      [' A test runs the commands and files below exactly as they are here, in a real browser.', ''],
      [' The test runs better-auth only.', ''],
    ],
    'infra/api/Dockerfile': [
      ['# The API with its page, the worker', '# The API, the worker'],
      [
        "FROM node:24-trixie-slim AS page\nARG BUILDKIT_SBOM_SCAN_STAGE=true\nWORKDIR /app\nCOPY package.json package-lock.json .npmrc ./\nCOPY apps/web/package.json apps/web/\n# Vite's parts for this platform are optional packages.\nRUN npm ci --ignore-scripts -w @repo/web\nCOPY tsconfig.json ./\nCOPY apps/web apps/web/\nRUN npm run build -w @repo/web\n\n",
        '',
      ],
      'COPY apps/web/package.json',
      'COPY --from=page',
    ],
    'infra/local/start.ts': ['await buildPage('],
    'tsconfig.json': [[', "apps/web"', '']],
    'vitest.config.ts': ["'apps/web/src/*.test.ts'"],
  },
}
