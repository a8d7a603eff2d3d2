import { S3Client } from '@aws-sdk/client-s3'
import { defaultProvider } from '@aws-sdk/credential-provider-node'
import { loadSharedConfigFiles } from '@smithy/core/config'
import { FetchHttpHandler } from '@smithy/fetch-http-handler'
import { type Access, isAws, sourceOf } from './access.ts'
import * as commands from './commands.ts'

/** The handler by which the SDK sends requests. */
type RequestHandler = NonNullable<NonNullable<ConstructorParameters<typeof S3Client>[0]>['requestHandler']>

/** A client of the SDK, and what is said of it to people. */
export interface ConnectedClient {
  readonly client: S3Client
  readonly commands: typeof commands
  /** The endpoint's URL; `AWS S3 (REGION)` for AWS itself. */
  readonly endpoint: string
  readonly isAws: boolean
  readonly region: string
  /** Returns the source of the credentials; found out by asking for them. */
  readonly source: () => Promise<string>
  /** Returns the texts that must not be shown. */
  readonly secrets: () => readonly string[]
  /** The same store by another handler of requests, for the probe. */
  readonly withHandler: (handler: RequestHandler) => S3Client
}

/** The region where nothing says which: AWS is asked here, and redirects to the right one; other stores have the one. */
const REGION = 'us-east-1'

/** Warnings of the SDK are for its developers. */
const quiet = (): undefined => undefined
const LOGGER = { trace: quiet, debug: quiet, info: quiet, warn: quiet, error: quiet }

/** Makes a client. Nothing is asked of the store yet; the files of the AWS CLI are read each time anew. */
export async function connect(access: Access): Promise<ConnectedClient> {
  const profile = await profileOf(access)
  const url = access.endpoint?.url ?? profile.endpoint
  const region = access.region ?? profile.region ?? REGION
  const isOwn = url !== undefined && !isAws(url)
  let secrets: readonly string[] = secretsIn(access.keys)
  let source = access.keys?.source
  const chain = defaultProvider({
    ...(access.profile === undefined ? {} : { profile: access.profile }),
    ignoreCache: true,
    logger: LOGGER,
  })
  const credentials = async (identity?: Parameters<typeof chain>[0]): Promise<Awaited<ReturnType<typeof chain>>> => {
    if (access.keys !== undefined) return { ...access.keys }
    const found = await chain(identity)
    secrets = secretsIn(found)
    source = sourceOf((found as { readonly $source?: object }).$source, access.profile)
    return found
  }
  const settings = {
    region,
    credentials,
    // A name before the host needs a DNS that knows it, which few stores of one's own have.
    ...(url === undefined ? {} : { endpoint: url, forcePathStyle: isOwn }),
    followRegionRedirects: !isOwn,
    // Attempts are counted in one place: retrying.ts.
    maxAttempts: 1,
    logger: LOGGER,
  }
  const withHandler = (requestHandler: RequestHandler): S3Client => new S3Client({ ...settings, requestHandler })
  return {
    client: withHandler(new FetchHttpHandler({ keepAlive: true, customFetch: plainFetch as typeof fetch })),
    commands,
    endpoint: isOwn ? url : `AWS S3 (${region})`,
    isAws: !isOwn,
    region,
    source: async () => {
      if (source === undefined) await credentials().catch(quiet)
      return source ?? sourceOf(undefined, access.profile)
    },
    secrets: () => secrets,
    withHandler,
  }
}

/** Bytes as they are stored, and the store's own answer where it points elsewhere. */
function plainFetch(request: Request): Promise<Response> {
  return fetch(request, { decompress: false, redirect: 'manual' } as RequestInit)
}

function secretsIn(
  keys: { accessKeyId: string; secretAccessKey: string; sessionToken?: string } | undefined,
): string[] {
  return keys === undefined ? [] : [keys.secretAccessKey, keys.sessionToken ?? '', keys.accessKeyId]
}

/** Returns the settings of the profile in the AWS CLI's files. */
async function profileOf({ profile }: Access): Promise<{ endpoint?: string; region?: string }> {
  const { configFile, credentialsFile } = await loadSharedConfigFiles({ ignoreCache: true })
  const name = profile ?? 'default'
  const section = { ...credentialsFile[name], ...configFile[name] }
  const services = section['services'] === undefined ? undefined : configFile[`services.${section['services']}`]
  const isIgnored =
    process.env['AWS_IGNORE_CONFIGURED_ENDPOINT_URLS']?.toLowerCase() === 'true' ||
    section['ignore_configured_endpoint_urls']?.toLowerCase() === 'true'
  const endpoint = isIgnored ? undefined : (services?.['s3.endpoint_url'] ?? section['endpoint_url'])
  return {
    ...(endpoint === undefined ? {} : { endpoint }),
    ...(section['region'] === undefined ? {} : { region: section['region'] }),
  }
}
