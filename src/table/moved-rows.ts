import { readFooter } from '../columns/parquet/read.ts'
import { storeSource } from '../columns/parquet/source.ts'
import { ascending, firstIndex } from '../core/search.ts'
import type { ObjectStore } from '../storage/object-store.ts'
import { isInPlaceOfOther } from './data-files/paths.ts'
import type { LiveFile, LiveFiles } from './live-files.ts'
import { decodeOrderHint, type OrderHint } from './order-hint.ts'
import type { Snapshot } from './snapshot.ts'
import { MOVED_KEY, MOVED_TAG } from './tags.ts'

/** Rows [start, end) of a file, which are those from `row` on of a newer one. */
interface Piece {
  readonly start: number
  readonly end: number
  readonly file: LiveFile
  readonly row: number
}

/** Rows of a file: those from `row` on are those from `fromRow` on of another one. */
interface Span {
  readonly row: number
  readonly count: number
  readonly from: string
  readonly fromRow: number
}

/** Rows of one file, by their physical numbers, ascending. */
export interface RowsOfFile {
  readonly file: LiveFile
  readonly rows: Uint32Array
}

/** The places that rows of a version have in a newer one, where files were put together meanwhile. */
export class RowMoves {
  /** By the paths of files that are gone, in the order of their rows. */
  readonly #pieces: ReadonlyMap<string, readonly Piece[]>
  readonly #live: LiveFiles

  constructor(pieces: ReadonlyMap<string, readonly Piece[]>, live: LiveFiles) {
    this.#pieces = pieces
    this.#live = live
  }

  /** The same rows where they are now. Of a file of which one is not there any more, they are named as they were. */
  rows(named: readonly RowsOfFile[]): RowsOfFile[] {
    const found = new Map<LiveFile, Uint32Array[]>()
    const add = (file: LiveFile, rows: Uint32Array): void => void found.set(file, [...(found.get(file) ?? []), rows])
    for (const { file, rows } of named) {
      const moved = this.#live.get(file.path) === undefined ? this.#moved(file.path, rows) : undefined
      if (moved === undefined) add(file, rows)
      else for (const [target, numbers] of moved) add(target, Uint32Array.from(numbers))
    }
    return [...found].map(([file, lists]) => ({ file, rows: ascending(lists) }))
  }

  #moved(path: string, rows: Uint32Array): Map<LiveFile, number[]> | undefined {
    const pieces = this.#pieces.get(path) ?? []
    const moved = new Map<LiveFile, number[]>()
    let at = 0
    for (const row of rows) {
      while (at < pieces.length && pieces[at]!.end <= row) at++
      const piece = pieces[at]
      if (piece === undefined || piece.start > row) return undefined
      const numbers = moved.get(piece.file) ?? []
      moved.set(piece.file, numbers)
      numbers.push(piece.row + row - piece.start)
    }
    return moved
  }

  /** The same places where they are now; behind a row that is not there any more, behind the one in front of it. */
  places({ refs, runs }: OrderHint): OrderHint {
    const paths = new Map<string, number>()
    const refOf = (path: string): number => {
      const ref = paths.get(path) ?? paths.size
      paths.set(path, ref)
      return ref
    }
    const moved = runs.map(run => {
      const path = refs[run.ref]
      if (path === undefined) return run
      const piece = this.#live.get(path) === undefined ? this.#pieceAt(path, run.row) : undefined
      if (piece === undefined) return { ...run, ref: refOf(path) }
      const row = piece.row + Math.min(run.row, piece.end - 1) - piece.start
      return { ...run, ref: refOf(piece.file.path), row: Math.max(0, row) }
    })
    return { refs: [...paths.keys()], runs: moved }
  }

  #pieceAt(path: string, row: number): Piece | undefined {
    const pieces = this.#pieces.get(path) ?? []
    return pieces[Math.max(0, firstIndex(pieces.length, i => pieces[i]!.start > row) - 1)]
  }
}

/**
 * Looks up where rows of `base` are in a newer version, whose files tell it that others were put together in (optimize).
 * Undefined where there are none. Reads their footers. Rejects with ParquetError or StorageError.
 */
export async function movesSince(store: ObjectStore, base: Snapshot, newest: Snapshot): Promise<RowMoves | undefined> {
  const made = newest.live
    .changesSince(base.live)
    .flatMap(({ after }) => (after?.tag(MOVED_TAG) !== undefined && !base.live.get(after.path) ? after : []))
  if (made.length === 0) return undefined
  const origins = new Origins(store, base.live)
  const pieces = new Map<string, Piece[]>()
  for (const file of made) {
    for (const { row, count, from, fromRow } of await origins.of(file.path, file.sizeBytes)) {
      const piece = { start: fromRow, end: fromRow + count, file, row }
      const others = pieces.get(from)
      if (others === undefined) pieces.set(from, [piece])
      else others.push(piece)
    }
  }
  for (const list of pieces.values()) list.sort((a, b) => a.start - b.start)
  return new RowMoves(pieces, newest.live)
}

/** Finds which rows of a version's files the rows of newer files are, through others in between. */
class Origins {
  readonly #store: ObjectStore
  readonly #live: LiveFiles
  readonly #known = new Map<string, Promise<readonly Span[]>>()

  constructor(store: ObjectStore, live: LiveFiles) {
    this.#store = store
    this.#live = live
  }

  /** In the order of the file's rows. */
  of(path: string, sizeBytes?: number): Promise<readonly Span[]> {
    const known = this.#known.get(path) ?? this.#read(path, sizeBytes)
    this.#known.set(path, known)
    return known
  }

  async #read(path: string, known: number | undefined): Promise<readonly Span[]> {
    const sizeBytes = known ?? (await this.#store.stat(path))?.sizeBytes
    // It was vacuumed.
    if (sizeBytes === undefined) return []
    const { keyValue } = await readFooter(storeSource(this.#store, path, sizeBytes))
    const hint = decodeOrderHint(keyValue.get(MOVED_KEY) ?? '')
    const spans: Span[] = []
    let row = 0
    for (const { count, ref, row: fromRow } of hint?.runs ?? []) {
      const from = hint!.refs[ref]!
      if (this.#live.get(from) !== undefined) spans.push({ row, count, from, fromRow })
      else if (isInPlaceOfOther(from)) {
        for (const span of await this.of(from)) {
          const start = Math.max(span.row, fromRow)
          const end = Math.min(span.row + span.count, fromRow + count)
          if (start < end)
            spans.push({
              row: row + start - fromRow,
              count: end - start,
              from: span.from,
              fromRow: span.fromRow + start - span.row,
            })
        }
      }
      row += count
    }
    return spans
  }
}
