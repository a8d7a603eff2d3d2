import { goProgram } from './go-program.ts'
import { type StoreServer, startStore } from './store-server.ts'

const VERSITYGW = { name: 'versitygw', path: 'github.com/versity/versitygw/cmd/versitygw', version: 'v1.8.0' }

/** Starts Versity's gateway on a free port, with a bucket for tests: its objects are files of a folder. */
export function startVersitygw(bucket = 'posixlake-test'): Promise<StoreServer> {
  const program = goProgram(VERSITYGW)
  return startStore(
    {
      name: VERSITYGW.name,
      command: (address, data) => [program, '--port', address, '--quiet', '--health', '/health', 'posix', data],
      environment: ({ accessKeyId, secretAccessKey }) => ({
        ROOT_ACCESS_KEY: accessKeyId,
        ROOT_SECRET_KEY: secretAccessKey,
      }),
      healthPath: '/health',
    },
    bucket,
  )
}
