import { errnoOf, messageOf } from '../../core/errors.ts'
import { StorageError, type StorageErrorCode } from '../object-store.ts'
import type { Retry } from '../retrying.ts'

/** The request that was sent to the store. */
export interface Asked {
  /** As IAM names it: `GetObject`, `PutObject`, ... */
  readonly action: string
  /** The object or the folder: `s3://bucket/prefix/path`. */
  readonly target: string
  readonly bucket: string
  /** The address of the store, for people. */
  readonly endpoint: string
  readonly region: string
  /** The source of the credentials. */
  readonly source: string
  /** Nothing that stands here may be shown. */
  readonly secrets: readonly string[]
}

/** The meaning of a failed request. */
export interface Failed {
  readonly error: StorageError
  readonly retry: Retry
  /** The credentials are over: others may be there by now. */
  readonly isExpired: boolean
}

/** The store's answer, out of whatever the SDK made of it. */
interface Answered {
  /** 0 if there was no answer. */
  readonly status: number
  /** The code in the answer's body, or the name of what the SDK threw. */
  readonly name: string
  readonly message: string
  readonly headers: Readonly<Record<string, string>>
}

interface Meaning {
  readonly code: StorageErrorCode
  readonly sentence: (asked: Asked, answered: Answered) => string
  readonly retries?: boolean
  readonly isExpired?: boolean
}

const said = ({ name, message }: Answered): string =>
  message === '' || message === name || message === 'UnknownError' ? name : `${name}: ${message.replace(/\.$/, '')}`

const busy: Meaning = {
  code: 'unavailable',
  sentence: ({ endpoint }, answered) =>
    `the store at ${endpoint} is busy or has trouble (${answered.status} ${said(answered)}); try again later`,
  retries: true,
}

/** The store has other bytes than were sent, and has kept none of them. */
const damaged: Meaning = {
  code: 'unavailable',
  sentence: ({ endpoint }, answered) =>
    `what was sent to the store at ${endpoint} came there damaged, again and again (${said(answered)}); check the network and what stands between`,
  retries: true,
}

const wrongRegion: Meaning = {
  code: 'access_denied',
  sentence: ({ bucket, region }, answered) => {
    const real = answered.headers['x-amz-bucket-region'] ?? /expecting '([\w-]+)'/.exec(answered.message)?.[1]
    return real === undefined
      ? `the bucket ${bucket} is not in the region ${region} (${said(answered)}); give the right one with --region or AWS_REGION`
      : `the bucket ${bucket} is in the region ${real}, and was asked for in ${region}; give --region ${real}, or set AWS_REGION=${real}`
  },
}

const expired: Meaning = {
  code: 'access_denied',
  sentence: ({ source }, answered) =>
    `the credentials from ${source} have expired (${said(answered)}); get new ones, such as by: aws sso login`,
  isExpired: true,
  retries: true,
}

const denied: Meaning = {
  code: 'access_denied',
  sentence: ({ action, source, endpoint }, answered) =>
    `access is denied: the credentials from ${source} may not do s3:${permissionFor(action)} there (${endpoint} answered ${answered.status} ${said(answered)}); allow it in their policy or in that of the bucket`,
}

const unknownKey: Meaning = {
  code: 'access_denied',
  sentence: ({ source, endpoint }, answered) =>
    `${endpoint} does not know the access key from ${source} (${answered.name}); check which keys this store has given you`,
}

const notThere: Meaning = { code: 'not_found', sentence: () => 'there is no such object' }

/** A page of a proxy, say: that an object is missing is for the store alone to say. */
const noStore: Meaning = {
  code: 'io',
  sentence: ({ endpoint }, answered) =>
    `what answers at ${endpoint} seems to be no S3 store (${answered.status} ${said(answered)}); check the endpoint`,
}

const full: Meaning = {
  code: 'no_space',
  sentence: (_, answered) => `the store has no room for it (${said(answered)})`,
}

/** By the code in the answer. */
const BY_NAME: Readonly<Record<string, Meaning>> = {
  NoSuchKey: notThere,
  NotFound: notThere,
  NoSuchBucket: {
    code: 'no_bucket',
    sentence: ({ bucket, endpoint }) =>
      `there is no bucket ${bucket} at ${endpoint}; check the name and the endpoint, or make the bucket first`,
  },
  InvalidBucketName: {
    code: 'invalid_path',
    sentence: ({ bucket }) => `the store takes ${bucket} for no name of a bucket`,
  },
  KeyTooLongError: { code: 'invalid_path', sentence: () => 'the name is too long for the store (1024 bytes)' },
  AccessDenied: denied,
  AllAccessDisabled: denied,
  AccountProblem: denied,
  InvalidAccessKeyId: unknownKey,
  UnrecognizedClientException: unknownKey,
  SignatureDoesNotMatch: {
    code: 'access_denied',
    sentence: ({ source, endpoint }) =>
      `${endpoint} does not accept the signature: the secret key from ${source} is not that of the access key`,
  },
  ExpiredToken: expired,
  ExpiredTokenException: expired,
  TokenRefreshRequired: expired,
  RequestExpired: expired,
  InvalidToken: {
    code: 'access_denied',
    sentence: ({ source }, answered) => `the session token from ${source} is not valid here (${said(answered)})`,
    isExpired: true,
  },
  RequestTimeTooSkewed: {
    code: 'access_denied',
    sentence: ({ endpoint }, answered) =>
      `the clocks of this machine (${new Date().toISOString()}) and of ${endpoint}${answered.headers['date'] === undefined ? '' : ` (${answered.headers['date']})`} differ too much; set this one right, such as by NTP`,
  },
  PermanentRedirect: wrongRegion,
  TemporaryRedirect: wrongRegion,
  AuthorizationHeaderMalformed: wrongRegion,
  IllegalLocationConstraintException: wrongRegion,
  SlowDown: busy,
  ServiceUnavailable: busy,
  InternalError: busy,
  RequestTimeout: busy,
  ThrottlingException: busy,
  TooManyRequestsException: busy,
  XMinioServerNotInitialized: busy,
  OperationAborted: busy,
  ConditionalRequestConflict: busy,
  BadDigest: damaged,
  XAmzContentSHA256Mismatch: damaged,
  XAmzContentChecksumMismatch: damaged,
  IncompleteBody: damaged,
  NotImplemented: {
    code: 'io',
    sentence: ({ action, endpoint }, answered) =>
      `the store at ${endpoint} does not have ${action} (${said(answered)})`,
  },
  QuotaExceeded: full,
  XMinioStorageFull: full,
  XMinioAdminBucketQuotaExceeded: full,
  EntityTooLarge: full,
  InvalidObjectState: {
    code: 'access_denied',
    sentence: () => 'the object is archived (Glacier); restore it first',
  },
}

/** By the status, where the code says nothing: answers to HEAD have no body, and proxies have codes of their own. */
const BY_STATUS: Readonly<Record<number, Meaning>> = {
  301: wrongRegion,
  307: wrongRegion,
  400: {
    code: 'access_denied',
    sentence: ({ action, endpoint, region, source }, answered) =>
      `${endpoint} does not accept ${action} (${said(answered)}); check the region (${region}), the session token and the credentials from ${source}`,
  },
  401: denied,
  403: denied,
  404: noStore,
  408: busy,
  409: busy,
  429: busy,
  500: busy,
  502: busy,
  503: busy,
  504: busy,
  507: full,
}

/** By the error of the connection, or its name. */
const UNREACHABLE: readonly (readonly [pattern: RegExp, why: string])[] = [
  [/ECONNREFUSED|ConnectionRefused|FailedToOpenSocket/, 'nothing listens there'],
  [/ENOTFOUND|EAI_AGAIN|DNSException/, 'there is no machine of that name'],
  [/EHOSTUNREACH|ENETUNREACH/, 'there is no way to it in the network'],
  [/CERT|SELF_SIGNED|UNABLE_TO|ERR_TLS|SSL/, 'its certificate or its TLS is not accepted'],
  [/AbortError|TimeoutError|ETIMEDOUT|ConnectTimeout/, 'it did not answer in time'],
  [/ECONNRESET|EPIPE|ConnectionClosed|socket/i, 'the connection was cut'],
]
/** Failures of requests that cannot have reached the store. */
const NEVER_SENT =
  /ECONNREFUSED|ConnectionRefused|FailedToOpenSocket|ENOTFOUND|EAI_AGAIN|DNSException|EHOSTUNREACH|ENETUNREACH|CERT|SELF_SIGNED|UNABLE_TO|ERR_TLS/

const NO_CREDENTIALS = /CredentialsProviderError|TokenProviderError|CredentialsError/

/** Returns the meaning of a failed request, and whether there is use in another. */
export function failedRequest(error: unknown, asked: Asked): Failed {
  if (error instanceof StorageError) return { error, retry: undefined, isExpired: false }
  const answered = answerIn(error, asked.secrets)
  if (NO_CREDENTIALS.test(answered.name)) return withoutCredentials(answered, asked, error)
  if (answered.status === 0) return unanswered(error, asked)
  if (answered.status < 300) return broken(error, asked)
  const meaning = BY_NAME[answered.name] ?? BY_STATUS[answered.status] ?? (answered.status >= 500 ? busy : undefined)
  const sentence =
    meaning?.sentence(asked, answered) ??
    `the store at ${asked.endpoint} answered ${asked.action} with ${answered.status} ${said(answered)}`
  return {
    error: errorOf(meaning?.code ?? 'io', sentence, asked, error, answered.status >= 500),
    retry: meaning?.retries === true ? { afterMs: retryAfterMs(answered.headers['retry-after']) } : undefined,
    isExpired: meaning?.isExpired === true,
  }
}

/** A body that is not what was announced; it is asked for again. */
export class BrokenBody extends Error {}

/** The request succeeded, and what came back is not what was sent: of a listing, too, where its XML cannot be read. */
function broken(error: unknown, asked: Asked): Failed {
  const sentence = `what the store at ${asked.endpoint} sent is not whole: ${redacted(messageOf(error), asked.secrets)}`
  return { error: errorOf('unavailable', sentence, asked, error, true), retry: {}, isExpired: false }
}

function unanswered(error: unknown, asked: Asked): Failed {
  const words = `${errnoOf(error) ?? ''} ${error instanceof Error ? error.name : ''} ${messageOf(error)}`
  if (error instanceof BrokenBody || /^Checksum mismatch/.test(messageOf(error))) return broken(error, asked)
  const why = UNREACHABLE.find(([pattern]) => pattern.test(words))?.[1]
  if (why === undefined) {
    // Whatever befell the connection, another may fare better.
    const sentence = `${asked.action} failed at ${asked.endpoint}: ${redacted(messageOf(error), asked.secrets)}`
    return { error: errorOf('io', sentence, asked, error, true), retry: {}, isExpired: false }
  }
  const sentence = `the store at ${asked.endpoint} cannot be reached: ${why}; check the endpoint and the network`
  return {
    error: errorOf('unavailable', sentence, asked, error, !NEVER_SENT.test(words)),
    retry: /CERT|SELF_SIGNED|UNABLE_TO|ERR_TLS/.test(words) ? undefined : {},
    isExpired: false,
  }
}

function withoutCredentials({ message }: Answered, asked: Asked, error: unknown): Failed {
  const sentence = /expired|refresh/i.test(message)
    ? `the credentials from ${asked.source} have expired (${message}); get new ones, such as by: aws sso login`
    : `there are no credentials for ${asked.endpoint} (${message}); set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or name a profile with --profile`
  return { error: errorOf('access_denied', sentence, asked, error, false), retry: undefined, isExpired: true }
}

function errorOf(
  code: StorageErrorCode,
  sentence: string,
  { target, action, secrets }: Asked,
  error: unknown,
  isDoubtful: boolean,
): StorageError {
  const isWrite = /^(Put|Delete|Complete|Upload|Create|Abort)/.test(action)
  const said = messageOf(error)
  const shown = redacted(said, secrets)
  // Logs tell causes, too.
  const cause = shown === said ? error : new Error(shown)
  return new StorageError(code, `${target}: ${sentence}`, { cause, mayHaveTakenEffect: isWrite && isDoubtful })
}

/** Returns the store's words, without the keys that it may have been told. */
function redacted(text: string, secrets: readonly string[]): string {
  return secrets.reduce((left, secret) => (secret === '' ? left : left.replaceAll(secret, '***')), text)
}

/** Returns IAM's name of the permission for an action. */
function permissionFor(action: string): string {
  if (/^List|^HeadBucket/.test(action)) return 'ListBucket'
  if (action === 'HeadObject') return 'GetObject'
  if (/^Delete/.test(action)) return 'DeleteObject'
  if (action === 'AbortMultipartUpload') return action
  return /^(Create|Complete|Upload)/.test(action) ? 'PutObject' : action
}

function answerIn(error: unknown, secrets: readonly string[]): Answered {
  const thrown = error as {
    readonly name?: string
    readonly Code?: string
    readonly $metadata?: { readonly httpStatusCode?: number }
    readonly $response?: { readonly statusCode?: number; readonly headers?: Record<string, string> }
  }
  return {
    status: thrown?.$metadata?.httpStatusCode ?? thrown?.$response?.statusCode ?? 0,
    name: thrown?.Code ?? thrown?.name ?? 'Error',
    message: redacted(messageOf(error), secrets),
    headers: thrown?.$response?.headers ?? {},
  }
}

/** The seconds, or the date, of the header. */
function retryAfterMs(text: string | undefined): number | undefined {
  if (text === undefined) return undefined
  if (/^\d+$/.test(text)) return Number(text) * 1000
  const ms = Date.parse(text) - Date.now()
  return Number.isNaN(ms) ? undefined : Math.max(0, ms)
}
