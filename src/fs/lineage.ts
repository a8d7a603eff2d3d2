import type { TextFormatName } from '../columns/text/formats/index.ts'
import { isContinued } from '../table/snapshot.ts'
import type { EndsOfFile } from './ends-of-file.ts'
import { FsError } from './filesystem.ts'
import type { TableText } from './text/layout.ts'

/**
 * One lineage of a view, for which a file handle stands (see src/README.md, the way of a READ). Appends and
 * writes through the mount continue it; any other commit starts a new lineage, as rename(2) over the file would.
 */
export interface Lineage {
  readonly id: bigint
  readonly format: TextFormatName
  /**
   * current: what the name leads to; writing: a program saves into it, and the name leads to the version before until
   * that is over; followed: only rows were appended since it was current, and it goes on with them for those who have it
   * open; old: shows its last version for ever; retired: a save into it was refused, and no further one is taken.
   */
  status: 'current' | 'writing' | 'followed' | 'old' | 'retired'
  /** The newest version that it has been seen to show. */
  version: bigint
  /** Nanoseconds since the epoch; moves forward by at least one with each change. */
  mtime: bigint
  /** When a program last read from it (ms since the epoch; 0: never in this process). */
  lastReadMs: number
  /** When a client last called on it, and when it was last written to the state database. */
  usedMs: number
  savedMs: number
  /** The ends that its clients know, and more of them. */
  readonly ends: EndsOfFile
  /** The WRITEs that made its text what it is, for a client that sends them once more after a restart (see `writeKey`). */
  written: readonly string[]
  /** Those of an earlier process: as long as nothing else was written, they are no new ones. */
  repeats: ReadonlySet<string>
  /** For a lineage that began as a file renamed into place: `<directory id>/<name>`, so that a repeated RENAME is known. */
  renamedFrom: string | undefined
  /** Made again on demand, if it is not there. */
  text: TableText | undefined
}

/** No WRITE is a repeated one. */
export const NOTHING: ReadonlySet<string> = new Set()

/** A WRITE, told by where it went and by its bytes. */
export function writeKey(offset: number, bytes: Uint8Array): string {
  return `${offset}:${bytes.length}:${Bun.hash.wyhash(bytes).toString(36)}`
}

/** A lineage at a version, which nobody has used yet. */
export function newLineage(
  id: bigint,
  format: TextFormatName,
  status: Lineage['status'],
  version: bigint,
  ends: EndsOfFile,
): Lineage {
  return {
    id,
    format,
    status,
    version,
    mtime: 0n,
    lastReadMs: 0,
    usedMs: 0,
    savedMs: 0,
    ends,
    written: [],
    repeats: NOTHING,
    renamedFrom: undefined,
    text: undefined,
  }
}

/** The version that tells the text of a lineage from others (TableText.version). */
export function textVersion({ text, version }: Pick<Lineage, 'text' | 'version'>): bigint {
  return text?.version ?? version
}

/** True if a text is an earlier one and rows behind its end. */
export function isContinuation(from: TableText, to: TableText): boolean {
  return from.size <= to.size && isContinued(from.snapshot, to.snapshot)
}

/** ESTALE, in the words a user may read in a log. */
export function staleLineage(lineage: Lineage): FsError {
  return new FsError(
    'ESTALE',
    `the handle ${lineage.id} stands for version ${lineage.version} of data.${lineage.format}, which the name no longer leads to`,
  )
}

/** ESTALE for a write behind a save that was refused. */
export function lostHandle({ id, format }: Lineage): FsError {
  return new FsError('ESTALE', `the handle ${id} is no longer that of data.${format}`)
}
