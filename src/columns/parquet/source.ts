import { open } from 'node:fs/promises'
import type { ObjectStore } from '../../storage/object-store.ts'

/** Random access to the bytes of one file. */
export interface ByteSource {
  /** For messages. */
  readonly name: string
  readonly sizeBytes: number
  /** Exactly the bytes [start, end). Rejects if the file has fewer. */
  read(start: number, end: number): Promise<Uint8Array>
}

/** A file on a local disk. */
export function localSource(path: string, sizeBytes: number): ByteSource {
  return {
    name: path,
    sizeBytes,
    read: async (start, end) => {
      const file = await open(path, 'r')
      try {
        const bytes = new Uint8Array(end - start)
        let done = 0
        while (done < bytes.length) {
          const { bytesRead } = await file.read(bytes, done, bytes.length - done, start + done)
          if (bytesRead === 0) throw new Error(`${path}: the file ends at byte ${start + done}, before ${end}`)
          done += bytesRead
        }
        return bytes
      } finally {
        await file.close()
      }
    },
  }
}

/** An object of a store. */
export function storeSource(store: ObjectStore, path: string, sizeBytes: number): ByteSource {
  const name = `${store.location}/${path}`
  return {
    name,
    sizeBytes,
    read: async (start, end) => {
      const bytes = await store.read(path, start, end)
      if (bytes.length !== end - start)
        throw new Error(`${name}: the file ends at byte ${start + bytes.length}, before ${end}`)
      return bytes
    },
  }
}

/** A file in memory. */
export function memorySource(name: string, bytes: Uint8Array): ByteSource {
  return { name, sizeBytes: bytes.length, read: async (start, end) => bytes.subarray(start, end) }
}
