import type { Part } from '../part.ts'

export const part: Part = {
  description: 'tokens of an OpenID Connect issuer',
  files: ['apps/api/src/plugins/jwt.ts', 'apps/api/src/plugins/jwt.test.ts', 'apps/api/tests/testing-issuer.ts'],
  dependencies: { 'apps/api': ['jose'] },
  edits: {
    '.env.example': [
      '# JWT_ISSUER=',
      '# JWT_AUDIENCE=',
      '# JWT_JWKS_URL=',
      '# JWT_ORGANIZATION_CLAIM=',
      '# JWT_LIBRARIAN_CLAIM=',
    ],
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
      "import { startIssuer } from './testing-issuer.ts'",
      'const issuer = ',
      '...issuer.environment,',
      "const [token = '', foreign = ''] = ",
      'for (const given of [token, foreign])',
    ],
    'apps/api/tests/testing-strangers.ts': [
      "import { startIssuer } from './testing-issuer.ts'",
      'const issuer = ',
      'export const environment = ',
      'const withToken',
      ['[withKey, withToken]', '[withKey]'],
    ],
    'apps/api/tests/owners.test.ts': [
      ['environment: { ...limits, ...environment }', 'environment: limits'],
      ['{ createStrangers, environment }', '{ createStrangers }'],
    ],
    'docs/comparison.md': ['| login for people'],
    'docs/configuration.md': [
      '| `JWT_ISSUER`',
      '| `JWT_AUDIENCE`',
      '| `JWT_JWKS_URL`',
      '| `JWT_ORGANIZATION_CLAIM`',
      '| `JWT_LIBRARIAN_CLAIM`',
    ],
    'docs/deployment.md': ['- People who sign in with OpenID Connect'],
    'docs/security.md': [
      '- Tokens of an issuer may do everything',
      [' Tokens come from one issuer, with fixed algorithms, audience and expiry (`jwt.ts`).', ''],
      [
        'model servers, `JWT_ISSUER` and `JWT_JWKS_URL` only, without following redirects (`jwt.test.ts`)',
        'model servers only',
      ],
    ],
    'packages/config/src/index.ts': [
      'const issuerError',
      'const issuerUrl',
      'function isIssuer',
      'JWT_ISSUER: ',
      'JWT_AUDIENCE: ',
      'const jwksUrl',
      'JWT_JWKS_URL: ',
      'const claim = ',
      'JWT_ORGANIZATION_CLAIM: ',
      'JWT_LIBRARIAN_CLAIM: ',
      '.refine((env) => env.JWT_AUDIENCE',
      '.refine((env) => env.JWT_ISSUER',
    ],
    'packages/config/src/index.test.ts': [
      "[\n      'JWT_ISSUER'",
      "['JWT_AUDIENCE', 'api'",
      "['JWT_JWKS_URL',",
      "['JWT_LIBRARIAN_CLAIM',",
      "it.each([\n    'login.example'",
      "it.each(['https://login.example',",
    ],
  },
}
