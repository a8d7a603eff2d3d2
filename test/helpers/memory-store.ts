import { compareByBytes } from '../../src/core/text-order.ts'
import {
  checkFolder,
  checkPath,
  type ObjectInfo,
  type ObjectStore,
  type ObjectWriter,
  StorageError,
} from '../../src/storage/object-store.ts'

/** A store in memory: for tests, and as the plainest reading of the contract. */
export function memoryStore(location = 'memory:', nowMs: () => number = Date.now): ObjectStore {
  const objects = new Map<string, { bytes: Uint8Array; modifiedMs: number }>()
  const check = (path: string): string => checkPath(location, path)
  const put = (path: string, bytes: Uint8Array): void => {
    objects.set(check(path), { bytes: bytes.slice(), modifiedMs: nowMs() })
  }
  const infoOf = (path: string): ObjectInfo | undefined => {
    const object = objects.get(path)
    return object === undefined ? undefined : { path, sizeBytes: object.bytes.length, modifiedMs: object.modifiedMs }
  }
  return {
    location,
    localPath: () => undefined,
    read: async (path, start = 0, end) => {
      const object = objects.get(check(path))
      if (object === undefined) throw new StorageError('not_found', `${location}/${path}: there is no such file`)
      return object.bytes.slice(start, end)
    },
    stat: async path => infoOf(check(path)),
    list: async (prefix, startAfter = '') => {
      const folder = checkFolder(location, prefix)
      return [...objects.keys()]
        .filter(path => folder === '' || path.startsWith(`${folder}/`))
        .filter(path => compareByBytes(path, startAfter) > 0)
        .sort(compareByBytes)
        .map(path => infoOf(path)!)
    },
    write: async (path, bytes) => put(path, bytes),
    create: async path => {
      check(path)
      return memoryWriter(bytes => put(path, bytes))
    },
    putIfAbsent: async (path, bytes) => {
      if (objects.has(check(path))) return 'exists'
      put(path, bytes)
      return 'written'
    },
    delete: async path => {
      objects.delete(check(path))
    },
    deleteMany: async paths => {
      for (const path of paths) objects.delete(check(path))
    },
  }
}

function memoryWriter(put: (bytes: Uint8Array) => void): ObjectWriter {
  const parts: Uint8Array[] = []
  return {
    write: async bytes => {
      parts.push(bytes.slice())
    },
    close: async () => put(Buffer.concat(parts)),
    abort: async () => {
      parts.length = 0
    },
  }
}
