import { UsageError } from './command.ts'
import { bytesOf, serverSqlArgs } from './sql-args.ts'

/** Flags of every command that starts a server. */
export const serveArgs = {
  table: { type: 'positional', required: true, description: 'The table: a directory' },
  host: { type: 'string', default: '127.0.0.1', valueHint: 'ADDRESS', description: 'The address to listen on' },
  port: { type: 'string', valueHint: 'PORT', description: 'The TCP port (default: 12049, or the next free one)' },
  'read-only': { type: 'boolean', description: 'Refuse every change' },
  'allow-other': { type: 'boolean', description: 'Let in other local users than root and you' },
  'cache-size': {
    type: 'string',
    valueHint: 'SIZE',
    description: 'The bound of the disk cache, such as 10GB (the default)',
  },
  ...serverSqlArgs,
} as const

export function portOf(text: string | undefined): number | undefined {
  if (text === undefined) return undefined
  const port = Number(text)
  if (!/^\d+$/.test(text) || port > 65_535)
    throw new UsageError(`--port takes a number from 0 to 65535 (0: any free port), not ${text}`)
  return port
}

export function hostOf(text: string): string {
  if (text === '') throw new UsageError('--host takes an address, such as 127.0.0.1')
  return text
}

export function cacheBytesOf(text: string | undefined): number | undefined {
  return bytesOf('cache-size', text)
}
