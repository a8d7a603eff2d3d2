import { type FileHandle, mkdir, open } from 'node:fs/promises'
import { join } from 'node:path'
import { ParquetError } from '../columns/errors.ts'
import { isIntact } from '../columns/parquet/decode.ts'
import { findChild } from '../columns/parquet/match.ts'
import type { SchemaNode } from '../columns/parquet/metadata.ts'
import { PARQUET_MAGIC, type RawFooter } from '../columns/parquet/raw-footer.ts'
import { type ChunkPlace, chunkPlaces, type Footer, leavesOf } from '../columns/parquet/read.ts'
import type { ByteSource } from '../columns/parquet/source.ts'
import type { Schema } from '../columns/types.ts'
import { sha256Hex } from '../core/hash.ts'
import type { LiveFile } from '../table/snapshot.ts'
import type { EnginePart, RowRun } from './relation.ts'

/** Pieces that are fetched at the same time, and their size. */
const PARALLEL = 8
const PIECE_BYTES = 4 << 20
/** Parts that are no further apart are fetched together: a request costs more than so many bytes. */
const GAP_BYTES = 64 << 10

/** A data file whose footer has been read. */
export interface OpenFile {
  readonly file: LiveFile
  readonly source: ByteSource
  readonly footer: Footer
  readonly raw: RawFooter
  /** The begin of its metadata. */
  readonly dataEnd: number
}

/** A file of this machine that stands for a part of a remote one. */
interface RemotePart extends OpenFile, EnginePart {
  /** The row groups that it has, by their numbers in the whole file. */
  groups: readonly number[]
  /** The leaves that have been fetched. */
  readonly here: Set<number>
}

interface Range {
  readonly start: number
  readonly end: number
}

/** Returns the begin of the name of what stands for a file on this machine: the same in each session's folder. */
export function copyName({ path }: LiveFile): string {
  return sha256Hex(path).slice(0, 32)
}

/** Returns the path of the copy of a part of a file in a folder. */
export function copyPath(folder: string, file: LiveFile): string {
  return join(folder, `${copyName(file)}.parquet`)
}

/** The rows of row groups (ascending) as a file has them that has no others. */
export function runsOf({ rowGroups }: Footer, groups: readonly number[]): RowRun[] {
  const runs: { firstRow: number; rows: number }[] = []
  for (const group of groups) {
    const { firstRow, rows } = rowGroups[group]!
    const last = runs.at(-1)
    if (last !== undefined && last.firstRow + last.rows === firstRow) last.rows += rows
    else runs.push({ firstRow, rows })
  }
  return runs
}

/**
 * Parts of files that are elsewhere, as files of this machine: their bytes stand where they do in the whole, and their
 * footers name only the row groups of the part, and of their columns only those that were fetched as being there. So what
 * was not fetched cannot be read: a row group is none of the file's, and a column is refused by the engine.
 */
export class RemoteFiles {
  /** For messages. */
  readonly location: string
  readonly #folder: string
  readonly #parts: RemotePart[] = []
  /** The columns as they are looked for in the files. */
  readonly #schema: Schema
  readonly #signal: AbortSignal | undefined

  constructor(location: string, folder: string, schema: Schema, signal: AbortSignal | undefined) {
    this.location = location
    this.#folder = folder
    this.#schema = schema
    this.#signal = signal
  }

  get isEmpty(): boolean {
    return this.#parts.length === 0
  }

  /** Makes a part of a file, of these row groups and without columns. */
  async add(file: OpenFile, groups: readonly number[]): Promise<EnginePart> {
    this.#signal?.throwIfAborted()
    await mkdir(this.#folder, { recursive: true, mode: 0o700 })
    const runs = runsOf(file.footer, groups)
    const part = { ...file, groups, runs, path: copyPath(this.#folder, file.file), here: new Set<number>() }
    await using out = await open(part.path, 'wx', 0o600)
    await writeAt(out, PARQUET_MAGIC, 0)
    await writeFooter(out, part)
    this.#parts.push(part)
    return part
  }

  /** Leaves of each part those row groups only that are among these. The rows behind the others get other places in it. */
  async narrow(groupsOf: (file: OpenFile) => readonly number[]): Promise<void> {
    await this.#each(this.#parts, async part => {
      const ofUse = new Set(groupsOf(part))
      part.groups = part.groups.filter(group => ofUse.has(group))
      part.runs = runsOf(part.footer, part.groups)
      await rewriteFooter(part)
    })
  }

  /** Fetches columns, by their numbers in the table, unless they are there; all that the files have without them. */
  async fetch(columns?: ReadonlySet<number>): Promise<void> {
    const wanted = this.#parts.map(part => {
      const leaves = this.#missingLeaves(part, columns)
      const places = placesOf(part, leaves)
      return { part, leaves, pieces: split(joined(places)), places }
    })
    const pieces = wanted.flatMap(({ part, pieces, places }) => pieces.map(piece => ({ part, piece, places })))
    await this.#each(pieces, async ({ part, piece, places }) => {
      const bytes = await part.source.read(piece.start, piece.end)
      await using out = await open(part.path, 'r+')
      await writeAt(out, bytes, piece.start)
      // As long as they are in memory: to read them back takes longer than to check them.
      for (const place of places.filter(each => isWithin(each, piece))) {
        const again = await mended(part, place, bytes.subarray(place.start - piece.start, place.end - piece.start))
        if (again !== undefined) await writeAt(out, again, place.start)
      }
    })
    await this.#each(
      wanted.filter(({ leaves }) => leaves.length > 0),
      async ({ part, leaves, pieces, places }) => {
        await mend(
          part,
          places.filter(place => !pieces.some(piece => isWithin(place, piece))),
        )
        for (const { leafIndex } of leaves) part.here.add(leafIndex)
        await rewriteFooter(part)
      },
    )
  }

  #missingLeaves({ footer: { root }, here }: RemotePart, columns: ReadonlySet<number> | undefined): SchemaNode[] {
    // A number may be one that only looks like a column's: of a constant, or of another relation.
    const fields = [...(columns ?? [])].flatMap(i => this.#schema[i] ?? [])
    const nodes = columns === undefined ? [root] : fields.flatMap(field => findChild(root, field) ?? [])
    return nodes.flatMap(leavesOf).filter(({ leafIndex }) => !here.has(leafIndex))
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

/** The bytes of a column chunk anew if they were damaged on their way: the engine does not look at their checksums. */
async function mended(
  { source }: RemotePart,
  { start, end, chunk }: ChunkPlace,
  bytes: Uint8Array,
): Promise<Uint8Array | undefined> {
  if (isIntact(bytes, chunk)) return undefined
  const again = (await source.readAnew?.(start, end)) ?? bytes
  if (isIntact(again, chunk)) return again
  throw new ParquetError('corrupt', `${source.name}: the column ${chunk.path.join('.')} is damaged`)
}

/** Mends column chunks that were fetched in several pieces. */
async function mend(part: RemotePart, places: readonly ChunkPlace[]): Promise<void> {
  if (places.length === 0) return
  await using out = await open(part.path, 'r+')
  for (const place of places) {
    const bytes = new Uint8Array(place.end - place.start)
    await out.read(bytes, 0, bytes.length, place.start)
    const again = await mended(part, place, bytes)
    if (again !== undefined) await writeAt(out, again, place.start)
  }
}

async function rewriteFooter(part: RemotePart): Promise<void> {
  await using out = await open(part.path, 'r+')
  await writeFooter(out, part)
}

/** The bytes behind the data become the footer of the parts that are there. */
async function writeFooter(out: FileHandle, { raw, groups, here, dataEnd }: RemotePart): Promise<void> {
  await out.truncate(dataEnd)
  await writeAt(
    out,
    raw.part(groups, leaf => here.has(leaf)),
    dataEnd,
  )
}

async function writeAt(out: FileHandle, bytes: Uint8Array, position: number): Promise<void> {
  for (let done = 0; done < bytes.length; )
    done += (await out.write(bytes, done, bytes.length - done, position + done)).bytesWritten
}

function placesOf({ source, footer, groups }: RemotePart, leaves: readonly SchemaNode[]): ChunkPlace[] {
  return groups.flatMap(group => chunkPlaces(source, footer, group, leaves))
}

function isWithin(range: Range, { start, end }: Range): boolean {
  return range.start >= start && range.end <= end
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
