/** The access to a store, as far as the environment says; what it leaves open, the chain of the SDK finds. */
export interface Access {
  /** Undefined: AWS itself, or what the profile says. */
  readonly endpoint: { readonly url: string; readonly source: string } | undefined
  readonly region: string | undefined
  readonly profile: string | undefined
  readonly keys: Keys | undefined
}

export interface Keys {
  readonly accessKeyId: string
  readonly secretAccessKey: string
  readonly sessionToken?: string
  /** The source of the credentials, for messages. */
  readonly source: string
}

export type Environment = Readonly<Record<string, string | undefined>>

/** The name by which `--access-key` and `--secret-key` are handed on: to the environment, where `ps` does not show them. */
export const KEYS_FROM_FLAGS = 'POSIXLAKE_KEYS_FROM_FLAGS'

/**
 * Reads the environment as the AWS CLI does, and the MINIO_* variables where it says nothing. The flags of posixlake have
 * been put into it before. MinIO's keys are for MinIO: they are never sent to AWS.
 */
export function accessOf(environment: Environment): Access {
  const value = (name: string): string | undefined => environment[name]?.trim() || undefined
  const first = (...names: readonly string[]): { value: string; name: string } | undefined => {
    const name = names.find(candidate => value(candidate) !== undefined)
    return name === undefined ? undefined : { name, value: value(name)! }
  }
  const isIgnored = value('AWS_IGNORE_CONFIGURED_ENDPOINT_URLS')?.toLowerCase() === 'true'
  const configured = isIgnored ? [] : ['AWS_ENDPOINT_URL_S3', 'AWS_ENDPOINT_URL']
  const found = first(...configured, 'MINIO_ENDPOINT')
  const url = found === undefined ? undefined : endpointUrl(found.value)
  const isMinio = found?.name === 'MINIO_ENDPOINT'
  const profile = value('AWS_PROFILE')
  const own = keysOf(value, 'AWS_ACCESS_KEY_ID', 'AWS_SECRET_ACCESS_KEY')
  const minio = url === undefined || isAws(url) ? undefined : keysOf(value, 'MINIO_ACCESS_KEY', 'MINIO_SECRET_KEY')
  const areFlags = value(KEYS_FROM_FLAGS) !== undefined
  return {
    endpoint: found === undefined || url === undefined ? undefined : { url, source: found.name },
    region: first('AWS_REGION', 'AWS_DEFAULT_REGION')?.value,
    profile,
    keys: chosen({ own, minio, areFlags, isMinio, profile }),
  }
}

function chosen(given: {
  readonly own: Keys | undefined
  readonly minio: Keys | undefined
  readonly areFlags: boolean
  readonly isMinio: boolean
  readonly profile: string | undefined
}): Keys | undefined {
  const { own, minio, areFlags, isMinio, profile } = given
  if (areFlags && own !== undefined) return { ...own, source: 'the flags --access-key and --secret-key' }
  if (isMinio && minio !== undefined) return minio
  // A profile that is named is meant, whatever else there is.
  if (profile !== undefined) return undefined
  return own ?? minio
}

function keysOf(value: (name: string) => string | undefined, id: string, secret: string): Keys | undefined {
  const accessKeyId = value(id)
  const secretAccessKey = value(secret)
  if (accessKeyId === undefined || secretAccessKey === undefined) return undefined
  const token = id.startsWith('AWS_') ? value('AWS_SESSION_TOKEN') : undefined
  return {
    accessKeyId,
    secretAccessKey,
    ...(token === undefined ? {} : { sessionToken: token }),
    source: `the environment (${id}, ${secret})`,
  }
}

/** MinIO's variable has a host and a port alone in some places. */
function endpointUrl(text: string): string {
  return /^https?:\/\//i.test(text) ? text.replace(/\/+$/, '') : `http://${text}`
}

/** True if an endpoint is one of AWS itself, where a bucket is part of the host name. */
export function isAws(url: string): boolean {
  const host = URL.canParse(url) ? new URL(url).hostname : ''
  return /(^|\.)amazonaws\.com(\.cn)?$/.test(host)
}

/** The features that the SDK notes on credentials that it found, and the words for them. */
const SOURCES: readonly (readonly [feature: string, source: string])[] = [
  ['CREDENTIALS_ENV_VARS_STS_WEB_ID_TOKEN', 'the web identity token (AWS_WEB_IDENTITY_TOKEN_FILE)'],
  ['CREDENTIALS_ENV_VARS', 'the environment (AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY)'],
  ['CREDENTIALS_PROFILE_SSO', 'the SSO session of PROFILE'],
  ['CREDENTIALS_PROFILE_SSO_LEGACY', 'the SSO session of PROFILE'],
  ['CREDENTIALS_PROFILE_LOGIN', 'the login session of PROFILE'],
  ['CREDENTIALS_PROFILE_PROCESS', 'the credential_process of PROFILE'],
  ['CREDENTIALS_PROFILE_STS_WEB_ID_TOKEN', 'the web identity token of PROFILE'],
  ['CREDENTIALS_PROFILE_SOURCE_PROFILE', 'the role of PROFILE'],
  ['CREDENTIALS_PROFILE_NAMED_PROVIDER', 'the role of PROFILE'],
  ['CREDENTIALS_PROFILE', 'PROFILE'],
  ['CREDENTIALS_PROCESS', 'the credential_process of PROFILE'],
  ['CREDENTIALS_HTTP', 'the container that this runs in'],
  ['CREDENTIALS_IMDS', 'the role of this machine (IMDS)'],
]

/** Returns the source of credentials, by what the SDK notes on them. */
export function sourceOf(features: object | undefined, profile: string | undefined): string {
  const found = SOURCES.find(([feature]) => feature in (features ?? {}))?.[1]
  const named = profile === undefined ? 'the default profile' : `the profile ${profile}`
  return found?.replace('PROFILE', named) ?? "the SDK's chain of credentials"
}
