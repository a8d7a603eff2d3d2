import { createHash } from 'node:crypto'
import { mkdir, open } from 'node:fs/promises'
import { join } from 'node:path'
import type { ByteSource } from '../columns/parquet/source.ts'
import type { LiveFile } from '../table/snapshot.ts'

/** What is fetched at the same time, and in pieces of which size. */
const PARALLEL = 8
const PIECE_BYTES = 4 << 20

/** The name of the copy of a file that is elsewhere: the same in each session's folder. */
export function copyName({ path }: LiveFile): string {
  return `${createHash('sha256').update(path).digest('hex').slice(0, 32)}.parquet`
}

/** A file that is elsewhere, and where its copy shall be. */
export interface Wanted {
  readonly source: ByteSource
  readonly path: string
}

/** Fetches files into a folder, which is made if it is missing, many pieces at a time. */
export async function fetchFiles(folder: string, files: readonly Wanted[], signal?: AbortSignal): Promise<void> {
  await mkdir(folder, { recursive: true, mode: 0o700 })
  const pieces = piecesOf(files)
  const fetchSome = async (): Promise<void> => {
    for (let next = pieces.next(); next.done !== true; next = pieces.next()) {
      signal?.throwIfAborted()
      const { file, start, end } = next.value
      const bytes = await file.source.read(start, end)
      const out = await open(file.path, 'r+')
      try {
        for (let done = 0; done < bytes.length; )
          done += (await out.write(bytes, done, bytes.length - done, start + done)).bytesWritten
      } finally {
        await out.close()
      }
    }
  }
  for (const { path, source } of files) {
    const made = await open(path, 'wx', 0o600)
    await made.truncate(source.sizeBytes).finally(() => made.close())
  }
  await Promise.all(Array.from({ length: PARALLEL }, fetchSome))
}

function* piecesOf(files: readonly Wanted[]): Generator<{ file: Wanted; start: number; end: number }, void> {
  for (const file of files) {
    const { sizeBytes } = file.source
    for (let start = 0; start < sizeBytes; start += PIECE_BYTES)
      yield { file, start, end: Math.min(sizeBytes, start + PIECE_BYTES) }
  }
}

/** Where the copy of a file is in a folder. */
export function copyPath(folder: string, file: LiveFile): string {
  return join(folder, copyName(file))
}
