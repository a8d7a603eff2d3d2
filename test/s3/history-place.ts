import { join } from 'node:path'
import { localStore } from '../../src/storage/local.ts'
import type { ObjectStore } from '../../src/storage/object-store.ts'
import { s3Store } from '../../src/storage/s3/store.ts'
import { type S3Proxy, startS3Proxy } from '../helpers/s3-proxy.ts'
import type { StoreServer } from '../helpers/store-server.ts'

const BUCKET = 'posixlake-test'

/** The place of a history's table. */
export interface Place extends AsyncDisposable {
  readonly table: string
  /** What a history does there, unless it is told otherwise: commits take longer on S3, and a folder has one server. */
  readonly size: { readonly servers: number; readonly savesOfServer: number; readonly lifeMs: number }
  /** The environment that programs find it by. */
  readonly environment: Readonly<Record<string, string>>
  /** Stands between the table and its writers, and fails; undefined where there is no network. */
  readonly proxy: S3Proxy | undefined
  readonly store: ObjectStore
}

/** Makes the place of a history, by its number. `random`: of its proxy. `folder`: for what is on this machine. */
export type MakePlace = (seed: number, random: () => number, folder: string) => Promise<Place>

export function onS3({ endpoint, environment }: StoreServer): MakePlace {
  return async (seed, random) => {
    const proxy = await startS3Proxy(endpoint, random)
    const prefix = `history-${seed}`
    const table = `s3://${BUCKET}/${prefix}`
    const store = s3Store({ location: table, bucket: BUCKET, prefix, environment })
    return {
      table,
      size: { servers: 2, savesOfServer: 10, lifeMs: 3400 },
      environment,
      proxy,
      store,
      [Symbol.asyncDispose]: () => proxy[Symbol.asyncDispose](),
    }
  }
}

/** A folder of this machine. */
export const locally: MakePlace = async (_seed, _random, folder) => {
  const table = join(folder, 'table')
  return {
    table,
    size: { servers: 1, savesOfServer: 24, lifeMs: 1500 },
    environment: {},
    proxy: undefined,
    store: localStore(table),
    [Symbol.asyncDispose]: async () => undefined,
  }
}
