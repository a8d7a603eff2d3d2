import { createHash } from 'node:crypto'
import { mkdir, open } from 'node:fs/promises'
import { join } from 'node:path'
import { findChild } from '../columns/parquet/match.ts'
import { type Footer, leavesOf } from '../columns/parquet/read.ts'
import type { ByteSource } from '../columns/parquet/source.ts'
import type { Schema } from '../columns/types.ts'
import type { LiveFile } from '../table/snapshot.ts'

/** What is fetched at the same time, and in pieces of which size. */
const PARALLEL = 8
const PIECE_BYTES = 4 << 20
/** Parts that are no further apart are fetched together: a request costs more than so many bytes. */
const GAP_BYTES = 64 << 10
/** What ends a Parquet file: the length of the footer before it, and four letters. */
const END_BYTES = 8

/** A data file that is elsewhere. */
export interface RemoteFile {
  readonly file: LiveFile
  readonly source: ByteSource
  readonly footer: Footer
}

interface Range {
  readonly start: number
  readonly end: number
}

/** The name of the copy of a file that is elsewhere: the same in each session's folder. */
export function copyName({ path }: LiveFile): string {
  return `${createHash('sha256').update(path).digest('hex').slice(0, 32)}.parquet`
}

/** Where the copy of a file is in a folder. */
export function copyPath(folder: string, file: LiveFile): string {
  return join(folder, copyName(file))
}

/**
 * Files that are elsewhere, as files of this machine that have their size and their footers, and of their columns what was
 * fetched; where nothing was, they are empty (zeros), which no reader of Parquet takes for the beginning of a page.
 */
export class RemoteFiles {
  readonly #folder: string
  readonly #files: readonly RemoteFile[]
  /** The columns as they are looked for in the files. */
  readonly #schema: Schema
  readonly #signal: AbortSignal | undefined

  private constructor(folder: string, files: readonly RemoteFile[], schema: Schema, signal: AbortSignal | undefined) {
    this.#folder = folder
    this.#files = files
    this.#schema = schema
    this.#signal = signal
  }

  /** Makes the files in a folder, which is made if it is missing, and fetches their footers. */
  static async open(
    folder: string,
    files: readonly RemoteFile[],
    schema: Schema,
    signal: AbortSignal | undefined,
  ): Promise<RemoteFiles> {
    await mkdir(folder, { recursive: true, mode: 0o700 })
    const remote = new RemoteFiles(folder, files, schema, signal)
    await remote.#each(files, async ({ file, source }) => {
      const made = await open(copyPath(folder, file), 'wx', 0o600)
      await made.truncate(source.sizeBytes).finally(() => made.close())
      const end = await source.read(source.sizeBytes - END_BYTES, source.sizeBytes)
      const footerBytes = Buffer.from(end).readUInt32LE(0) + END_BYTES
      await remote.#fetch({ file, source }, { start: source.sizeBytes - footerBytes, end: source.sizeBytes })
    })
    return remote
  }

  /** Fetches columns of files, by their numbers in the table; all of everything without them. */
  async fetch(columns?: ReadonlySet<number>, isNeeded: (file: LiveFile) => boolean = () => true): Promise<void> {
    const pieces = this.#files
      .filter(({ file }) => isNeeded(file))
      .flatMap(remote => this.#ranges(remote, columns).map(range => ({ remote, range })))
    await this.#each(pieces, ({ remote, range }) => this.#fetch(remote, range))
  }

  #ranges({ source, footer }: RemoteFile, columns: ReadonlySet<number> | undefined): Range[] {
    if (columns === undefined) return split([{ start: 0, end: source.sizeBytes }])
    const nodes = [...columns].flatMap(i => findChild(footer.root, this.#schema[i]!) ?? [])
    const leaves = nodes.flatMap(leavesOf)
    const chunks = footer.rowGroups.flatMap(group => leaves.flatMap(leaf => group.columns[leaf.leafIndex] ?? []))
    return split(joined(chunks.map(({ start, sizeBytes }) => ({ start, end: start + sizeBytes }))))
  }

  async #fetch({ file, source }: Pick<RemoteFile, 'file' | 'source'>, { start, end }: Range): Promise<void> {
    const bytes = await source.read(start, end)
    const out = await open(copyPath(this.#folder, file), 'r+')
    try {
      for (let done = 0; done < bytes.length; )
        done += (await out.write(bytes, done, bytes.length - done, start + done)).bytesWritten
    } finally {
      await out.close()
    }
  }

  async #each<T>(items: readonly T[], run: (item: T) => Promise<void>): Promise<void> {
    const left = items.values()
    const runSome = async (): Promise<void> => {
      for (const item of left) {
        this.#signal?.throwIfAborted()
        await run(item)
      }
    }
    await Promise.all(Array.from({ length: Math.min(PARALLEL, items.length) }, runSome))
  }
}

/** Ranges in order, those that are near each other as one. */
function joined(ranges: readonly Range[]): Range[] {
  const found: Range[] = []
  for (const range of [...ranges].sort((a, b) => a.start - b.start)) {
    const last = found.at(-1)
    if (last === undefined || range.start > last.end + GAP_BYTES) found.push(range)
    else found.splice(-1, 1, { start: last.start, end: Math.max(last.end, range.end) })
  }
  return found
}

function split(ranges: readonly Range[]): Range[] {
  return ranges.flatMap(({ start, end }) =>
    Array.from({ length: Math.ceil((end - start) / PIECE_BYTES) }, (_, i) => ({
      start: start + i * PIECE_BYTES,
      end: Math.min(end, start + (i + 1) * PIECE_BYTES),
    })),
  )
}
