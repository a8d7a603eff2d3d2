import type { StoreSettings } from '../serve/registry.ts'
import { parseLocation } from '../storage/location.ts'
import { KEYS_FROM_FLAGS } from '../storage/s3/access.ts'
import { UsageError } from './command.ts'
import { note } from './output.ts'

/** Flags of every command that opens a table: how to get at one on S3, where the environment does not say it. */
export const storeArgs = {
  endpoint: {
    type: 'string',
    valueHint: 'URL',
    description: 'S3: the address of the store, such as http://127.0.0.1:9000 (default: AWS_ENDPOINT_URL, or AWS)',
  },
  region: { type: 'string', valueHint: 'REGION', description: 'S3: the region (default: AWS_REGION, or the profile)' },
  profile: { type: 'string', valueHint: 'NAME', description: 'S3: the profile of the AWS CLI (default: AWS_PROFILE)' },
  'access-key': {
    type: 'string',
    valueHint: 'ID',
    description: 'S3: the access key; better by profile or environment',
  },
  'secret-key': { type: 'string', valueHint: 'KEY', description: 'S3: its secret, which others can see in this form' },
} as const

export type StoreArgs = { readonly [flag in keyof typeof storeArgs]?: string | undefined }

/**
 * Puts the flags where the store looks, and whatever process is started finds them: in the environment. So keys are on no
 * other command line than the user's own. The result: what a server is started with again; the endpoint is in its
 * table's name. UsageError.
 */
export function useStore(table: string, args: StoreArgs): StoreSettings {
  const { endpoint, region, profile } = args
  const keys = [args['access-key'], args['secret-key']]
  const [given] = Object.keys(storeArgs).filter(name => args[name as keyof StoreArgs] !== undefined)
  if (given === undefined) return {}
  if (parseLocation(table).kind !== 's3')
    throw new UsageError(`--${given} goes with a table on S3, and ${table} is none`)
  if (endpoint !== undefined && !/^https?:\/\/[^/\s]+/i.test(endpoint))
    throw new UsageError(`--endpoint takes a URL such as http://127.0.0.1:9000, not ${endpoint}`)
  if (keys.filter(key => key !== undefined).length === 1)
    throw new UsageError('--access-key and --secret-key go together')
  if (keys[0] !== undefined && profile !== undefined) throw new UsageError('give keys or --profile, not both')
  if (keys[0] !== undefined) {
    note('Keys on a command line can be seen by other users, and stay in the history of the shell: prefer --profile.')
    set({ AWS_ACCESS_KEY_ID: keys[0], AWS_SECRET_ACCESS_KEY: keys[1], AWS_SESSION_TOKEN: undefined })
    set({ [KEYS_FROM_FLAGS]: '1', AWS_PROFILE: undefined })
  }
  if (profile !== undefined) {
    // Keys in the environment would be meant for something else.
    set({ AWS_PROFILE: profile, AWS_ACCESS_KEY_ID: undefined, AWS_SECRET_ACCESS_KEY: undefined })
    set({ AWS_SESSION_TOKEN: undefined, [KEYS_FROM_FLAGS]: undefined })
  }
  if (endpoint !== undefined) set({ AWS_ENDPOINT_URL_S3: endpoint, AWS_IGNORE_CONFIGURED_ENDPOINT_URLS: undefined })
  if (region !== undefined) set({ AWS_REGION: region })
  return {
    ...(region === undefined ? {} : { region }),
    ...(profile === undefined ? {} : { profile }),
  }
}

function set(variables: Readonly<Record<string, string | undefined>>): void {
  for (const [name, value] of Object.entries(variables)) {
    if (value === undefined) delete process.env[name]
    else process.env[name] = value
  }
}

/** The flags that say the same again. */
export function storeFlags({ region, profile }: StoreSettings = {}): string[] {
  return [
    ...(region === undefined ? [] : ['--region', region]),
    ...(profile === undefined ? [] : ['--profile', profile]),
  ]
}
