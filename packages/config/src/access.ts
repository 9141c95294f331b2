import { z } from 'zod'
import { optional } from './values.ts'

/**
 * Compared character by character with the `iss` of tokens. Over plain HTTP, an attacker could serve their own signing
 * keys.
 */
const issuerError = 'must be a URL like https://login.example without ? and #. http is allowed for localhost only'
const issuerUrl = z.url({ abort: true, error: issuerError }).refine(isIssuer, issuerError)
/** The operator chooses this URL, so plain HTTP is allowed. It is for private networks. */
const jwksUrl = z.url({ protocol: /^https?$/, error: 'must be a URL like https://login.example/jwks' })
/** `NAME=VALUE` of a claim, as `[name, value]`. */
const claim = z
  .string()
  .regex(/^[^=]+=./, 'must be the claim and its value, like roles=librarian')
  .transform((text) => text.split(/=(.*)/s, 2))
const list = z
  .string()
  .default('')
  .transform((value) =>
    value
      .split(',')
      .map((entry) => entry.trim())
      .filter(Boolean),
  )
const origins = list.refine(
  (entries) => entries.every(isOrigin),
  'must be a comma-separated list of origins like https://chat.example or tauri://localhost',
)
const hosts = list.refine(
  (entries) => entries.every(isHost),
  'must be a comma-separated list of host names like host.docker.internal, without ports',
)

/**
 * Returns whether the text is an origin as browsers send it: without path and trailing slash. Apps and extensions have
 * their own schemes, for which `URL` reports no origin.
 */
function isOrigin(text: string): boolean {
  if (!/^https?:/.test(text)) return /^[a-z][a-z\d+.-]*:\/\/[^\s/?#@*]+$/.test(text)
  return URL.canParse(text) && new URL(text).origin === text
}

/** Returns whether the text is a host name as `URL` returns it. */
function isHost(text: string): boolean {
  return !text.includes('*') && URL.canParse(`http://${text}`) && new URL(`http://${text}`).hostname === text
}

function isIssuer(text: string): boolean {
  const { protocol, hostname } = new URL(text)
  const isLocal = ['localhost', '127.0.0.1', '[::1]'].includes(hostname)
  return (protocol === 'https:' || (protocol === 'http:' && isLocal)) && !/[?#]/.test(text)
}

/** Who may call the API, and from where. */
export const access = {
  NODE_ENV: optional,
  AUTH: z.enum(['required', 'off']).default('required'),
  JWT_ISSUER: issuerUrl.optional(),
  JWT_AUDIENCE: optional,
  JWT_JWKS_URL: jwksUrl.optional(),
  JWT_ORGANIZATION_CLAIM: optional,
  JWT_LIBRARIAN_CLAIM: claim.optional(),
  ALLOWED_HOSTS: hosts,
  CORS_ORIGINS: origins,
  TRUST_PROXY: z.stringbool({ truthy: ['true'], falsy: ['false'] }).default(false),
}

/** Reports settings that contradict each other. A refinement of the schema that contains `access`. */
export function checkAccess(env: z.output<z.ZodObject<typeof access>>, { addIssue }: z.RefinementCtx) {
  const report = (name: string, message: string) => addIssue({ code: 'custom', path: [name], message })
  if (env.AUTH === 'off' && env.NODE_ENV === 'production')
    report('AUTH', 'cannot be off with NODE_ENV=production. Set AUTH=required')
  if (env.JWT_AUDIENCE !== undefined && env.JWT_ISSUER === undefined)
    report('JWT_ISSUER', 'is required with JWT_AUDIENCE. Set it to the URL of the token issuer')
  if (env.JWT_ISSUER !== undefined && env.JWT_AUDIENCE === undefined)
    report('JWT_AUDIENCE', 'is required with JWT_ISSUER. Set it to the `aud` of the tokens for this API')
}
