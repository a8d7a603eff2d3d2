import { goProgram } from './go-program.ts'
import { type StoreServer, startStore } from './store-server.ts'

/** The newest release of MinIO; it is to be had as source only. */
const MINIO = { name: 'MinIO', path: 'github.com/minio/minio', version: 'v0.0.0-20260212201848-7aac2a2c5b7c' }

/** Starts a MinIO server on a free port, with a bucket for tests. */
export function startMinio(bucket = 'posixlake-test'): Promise<StoreServer> {
  const program = goProgram(MINIO)
  return startStore(
    {
      name: MINIO.name,
      command: (address, data) => [program, 'server', '--quiet', '--address', address, data],
      environment: ({ accessKeyId, secretAccessKey }) => ({
        MINIO_ROOT_USER: accessKeyId,
        MINIO_ROOT_PASSWORD: secretAccessKey,
        MINIO_BROWSER: 'off',
        MINIO_PROMETHEUS_AUTH_TYPE: 'public',
      }),
      healthPath: '/minio/health/ready',
    },
    bucket,
  )
}

// Run by itself, it builds the server.
if (import.meta.main) goProgram(MINIO)
