import type { ObjectStore } from '../../src/storage/object-store.ts'

/** A call of a store, such as `read log/1 0-100`. */
export interface CountingStore extends ObjectStore {
  readonly calls: string[]
}

/** A store that notes what is asked of it. */
export function countingStore(store: ObjectStore): CountingStore {
  const calls: string[] = []
  const noted = <T>(call: string, run: () => T): T => {
    calls.push(call)
    return run()
  }
  return {
    calls,
    location: store.location,
    localPath: path => store.localPath(path),
    read: (path, start, end) =>
      noted(`read ${path}${end === undefined ? '' : ` ${start}-${end}`}`, () => store.read(path, start, end)),
    stat: path => noted(`stat ${path}`, () => store.stat(path)),
    list: (prefix, startAfter) =>
      noted(`list ${prefix}${startAfter === undefined ? '' : ` behind ${startAfter}`}`, () =>
        store.list(prefix, startAfter),
      ),
    write: (path, bytes) => noted(`write ${path}`, () => store.write(path, bytes)),
    create: path => noted(`create ${path}`, () => store.create(path)),
    putIfAbsent: (path, bytes) => noted(`put ${path}`, () => store.putIfAbsent(path, bytes)),
    delete: path => noted(`delete ${path}`, () => store.delete(path)),
    deleteMany: paths => noted(`delete ${paths.length}`, () => store.deleteMany(paths)),
  }
}
