import { DEFAULT_HOST } from '../serve/endpoints.ts'
import type { ServerSettings } from '../serve/registry.ts'
import { UsageError } from './command.ts'
import { bytesOf, serverSqlArgs, sqlLimitsOf } from './sql-args.ts'
import { type StoreArgs, storeArgs, useStore } from './store-args.ts'
import { locationName } from './table-of.ts'

/** Flags of every command that starts a server. */
export const serveArgs = {
  table: { type: 'positional', required: true, description: 'The table: a directory or s3://bucket/prefix' },
  host: { type: 'string', valueHint: 'ADDRESS', description: 'The address to listen on (default: 127.0.0.1)' },
  port: { type: 'string', valueHint: 'PORT', description: 'The TCP port (default: 12049, or the next free one)' },
  'read-only': { type: 'boolean', description: 'Refuse every change' },
  'allow-other': { type: 'boolean', description: 'Let in other local users than root and you' },
  'cache-size': {
    type: 'string',
    valueHint: 'SIZE',
    description: 'The bound of the disk cache, such as 10GB (the default)',
  },
  'no-compact': { type: 'boolean', description: 'Leave the small files that changes make as they are' },
  ...serverSqlArgs,
  ...storeArgs,
} as const

/** Values of these flags, as they are parsed. */
export interface ServeArgs extends StoreArgs {
  readonly table: string
  readonly host: string | undefined
  readonly port: string | undefined
  readonly 'read-only': boolean | undefined
  readonly 'allow-other': boolean | undefined
  readonly 'cache-size': string | undefined
  readonly 'no-compact': boolean | undefined
  readonly 'query-timeout': string | undefined
  readonly 'query-memory': string | undefined
  readonly 'query-result': string | undefined
}

/** Returns the settings that a server is started with. Throws UsageError. */
export function settingsOf(args: ServeArgs): Omit<ServerSettings, 'logFile' | 'untilUnmounted'> {
  return {
    store: useStore(args.table, args),
    // The endpoint among the flags is part of the name.
    location: locationName(args.table),
    host: hostOf(args.host) ?? DEFAULT_HOST,
    port: portOf(args.port),
    readOnly: args['read-only'] === true,
    allowOther: args['allow-other'] === true,
    cacheBytes: cacheBytesOf(args['cache-size']),
    noCompact: args['no-compact'] === true,
    sqlLimits: sqlLimitsOf(args),
  }
}

export function portOf(text: string | undefined): number | undefined {
  if (text === undefined) return undefined
  const port = Number(text)
  if (!/^\d+$/.test(text) || port > 65_535)
    throw new UsageError(`--port takes a number from 0 to 65535 (0: any free port), not ${text}`)
  return port
}

export function hostOf(text: string | undefined): string | undefined {
  if (text === '') throw new UsageError('--host takes an address, such as 127.0.0.1')
  return text
}

export function cacheBytesOf(text: string | undefined): number | undefined {
  return bytesOf('cache-size', text)
}
