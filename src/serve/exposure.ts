import type { WantedEndpoint } from './endpoints.ts'
import type { Rights } from './table-server.ts'

/** Names the users beside root and the one who serves who can now use a table; undefined if there are none. */
export function exposure({ host, port }: WantedEndpoint, { readOnly, allowOther }: Rights): string | undefined {
  const what = readOnly ? 'read this table' : 'read and change this table'
  const users = allowOther ? `every user of this machine can ${what}` : undefined
  if (isLoopback(host)) return users && `${users[0]?.toUpperCase()}${users.slice(1)}.`
  const where = host === '0.0.0.0' || host === '::' ? `port ${port} of any address of this machine` : `${host}:${port}`
  const network = `Whoever reaches ${where} over the network and knows the export's path can ${what}, as any user: NFSv3 asks for no password. Tell nobody the path, or let a firewall say who may connect`
  return users === undefined ? `${network}.` : `${network}. Besides, ${users}.`
}

function isLoopback(host: string): boolean {
  return host === 'localhost' || host === '::1' || host.startsWith('127.')
}
