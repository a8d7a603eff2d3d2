import { open } from 'node:fs/promises'
import type { ObjectStore } from '../../storage/object-store.ts'
import { ParquetError } from '../errors.ts'

/** Random access to the bytes of one file. */
export interface ByteSource {
  /** For messages. */
  readonly name: string
  readonly sizeBytes: number
  /** Exactly the bytes [start, end). Rejects with ParquetError if the file has fewer, or as the system or store fails. */
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
          if (bytesRead === 0) throw cutOff(path, start + done, end)
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
      if (bytes.length !== end - start) throw cutOff(name, start + bytes.length, end)
      return bytes
    },
  }
}

function cutOff(name: string, end: number, wanted: number): ParquetError {
  return new ParquetError('corrupt', `${name}: the file ends at byte ${end}, before ${wanted}`)
}

/** A file in memory. */
export function memorySource(name: string, bytes: Uint8Array): ByteSource {
  return { name, sizeBytes: bytes.length, read: async (start, end) => bytes.subarray(start, end) }
}
