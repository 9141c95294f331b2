import type { Part } from '../part.ts'

export const part: Part = {
  description: 'tokens of an OpenID Connect issuer',
  files: ['apps/api/src/plugins/jwt.ts', 'apps/api/src/plugins/jwt.test.ts'],
  dependencies: { 'apps/api': ['jose'] },
  edits: {
    '.env.example': ['# JWT_ISSUER=', '# JWT_AUDIENCE='],
    'apps/api/src/app.ts': [
      "await app.register(import('./plugins/jwt.ts')",
      [', including the URL; a JWT takes 1 to 2 kB', ', including the URL'],
    ],
    'apps/api/src/plugins/README.md': ['- `jwt.ts`'],
    'apps/api/src/plugins/error-catalogue.ts': [
      [", 'token_expired'", ''],
      [", 'issuer_unavailable'", ''],
    ],
    'apps/api/tests/logs.test.ts': [
      'const pair = ',
      'const issuer = ',
      ['[modelUrl, issuerUrl] = [await listen(model), await listen(issuer)]', 'modelUrl = await listen(model)'],
      ['for (const server of [model, issuer]) server', 'model'],
      'const sign = ',
      'JWT_ISSUER: ',
      'JWT_AUDIENCE: ',
      "const [token = '', foreign = ''] = ",
      'for (const given of [token, foreign])',
    ],
    'docs/comparison.md': ['| login for people'],
    'docs/configuration.md': ['| `JWT_ISSUER`', '| `JWT_AUDIENCE`'],
    'docs/deployment.md': ['- People who sign in with OpenID Connect'],
    'docs/security.md': [
      [' Tokens come from one issuer, with fixed algorithms, audience and expiry (`jwt.ts`).', ''],
      ['model servers and `JWT_ISSUER` only, without following redirects (`jwt.test.ts`)', 'model servers only'],
    ],
    'packages/config/src/index.ts': [
      'const issuerError',
      'const issuerUrl',
      'function isIssuer',
      'JWT_ISSUER: ',
      'JWT_AUDIENCE: ',
      '.refine((env) => env.JWT_AUDIENCE',
      '.refine((env) => env.JWT_ISSUER',
    ],
    'packages/config/src/index.test.ts': [
      "[\n      'JWT_ISSUER'",
      "['JWT_AUDIENCE', 'api'",
      "it.each([\n    'login.example'",
      "it.each(['https://login.example',",
    ],
  },
}
