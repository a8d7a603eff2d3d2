import { mkdir, open } from 'node:fs/promises'
import { dirname } from 'node:path'
import { ParquetError } from '../columns/errors.ts'
import { RawFooter } from '../columns/parquet/raw-footer.ts'
import { readFooterBytes, readRowGroup } from '../columns/parquet/read.ts'
import { storeSource } from '../columns/parquet/source.ts'
import { ParquetFileWriter } from '../columns/parquet/write.ts'
import { schemaFingerprint } from '../columns/schema.ts'
import type { Batch, Field, Schema } from '../columns/types.ts'
import { errnoOf, LakeError, messageOf } from '../core/errors.ts'
import { isMapped, schemaInFiles } from '../table/column-mapping.ts'
import { rowGroupsFor } from '../table/file-pruning.ts'
import { asMissingFile } from '../table/missing-files.ts'
import { ANY, type RowFilter } from '../table/row-filter.ts'
import type { LiveFile, Snapshot } from '../table/snapshot.ts'
import type { Table } from '../table/table.ts'
import { TEXT_TAG } from '../table/tags.ts'
import { SqlError } from './errors.ts'
import { readsInPlace } from './in-place.ts'
import type { EnginePart } from './relation.ts'
import { copyPath, type OpenFile, RemoteFiles, runsOf } from './remote-files.ts'
import { storedType } from './types.ts'

/** Footers that are read at the same time. */
const PARALLEL = 16
/** Files that this process has found to be readable in place, by what that follows from: path, size, time and columns. */
const known = new Set<string>()
const KNOWN_MAX = 100_000
/** Bytes at the end of a Parquet file, behind its metadata. */
const FOOTER_END_BYTES = 8

export interface EngineFilesOptions {
  /** Files that the engine is known to refuse. */
  readonly isRefused?: (file: LiveFile) => boolean
  /** Which rows are wanted: what cannot have any is left out of files that are copied or fetched. */
  readonly filter?: RowFilter
  /** Ends the copying. */
  readonly signal?: AbortSignal | undefined
}

/** The files of a snapshot for the engine. */
export interface EngineFiles {
  readonly parts: readonly EnginePart[]
  /** Those that are elsewhere, and of which no column has been fetched; undefined if there are none. */
  readonly remote: RemoteFiles | undefined
}

/**
 * Returns the files that the engine reads of a snapshot: its own in place, or, where it would read something else than
 * our own reader does (`readsInPlace`), copies that our reader makes in `folder`: the same rows. Of files that are not on this machine there are
 * parts in `folder`. The folder is made when it is needed. Rejects with SqlError, also for a file that nobody can read.
 */
export async function engineFiles(
  table: Table,
  snapshot: Snapshot,
  folder: string,
  { isRefused = () => false, filter = ANY, signal }: EngineFilesOptions = {},
): Promise<EngineFiles> {
  const schema = schemaInFiles(snapshot).filter(
    ({ name, type }) => type.kind !== 'void' && !snapshot.partitionColumns.includes(name),
  )
  const fingerprint = schemaFingerprint(schema)
  const keyOf = (file: LiveFile): string =>
    `${table.store.location}/${file.path}\0${file.sizeBytes}\0${file.modificationTime}\0${fingerprint}`
  // Our own files need not be looked into, unless fields can have gone from inside others since: only mapped ones can.
  const mapped = isMapped(schema)
  const isOurs = (file: LiveFile): boolean => !mapped && file.tag(TEXT_TAG) !== undefined
  const isSure = (file: LiveFile): boolean => !isRefused(file) && (isOurs(file) || known.has(keyOf(file)))
  const remote = new RemoteFiles(table.store.location, folder, schemaInFiles(snapshot), signal)
  const partsOf = async (file: LiveFile): Promise<EnginePart[]> => {
    const path = table.store.localPath(file.path)
    if (path !== undefined && isSure(file)) return [wholeFile(file, path)]
    const opened = await openFile(table, file)
    // The engine says that a file is not there, if the statement gets to it.
    if (opened instanceof LakeError && path !== undefined) return [wholeFile(file, path)]
    if (opened instanceof LakeError) throw await missing(table, snapshot, opened)
    const isRead = isSure(file) || (!isRefused(file) && readsInPlace(opened.footer, schema))
    if (isRead) remember(keyOf(file))
    if (isRead && path !== undefined) return [wholeFile(file, path)]
    const groups = rowGroupsFor(snapshot, file, opened, filter)
    if (groups.length === 0) return []
    if (isRead) return [await fetching(folder, signal, () => remote.add(opened, groups))]
    const made = await copied(opened, schema, folder, groups, signal)
    return [{ file, path: made, runs: runsOf(opened.footer, groups) }]
  }
  const parts: EnginePart[] = []
  for (let start = 0; start < snapshot.files.length; start += PARALLEL)
    parts.push(...(await Promise.all(snapshot.files.slice(start, start + PARALLEL).map(partsOf))).flat())
  return { parts, remote: remote.isEmpty ? undefined : remote }
}

/** Says of a file that is elsewhere, and not there any more, in words of the version which it is. */
async function missing({ store }: Table, snapshot: Snapshot, cause: LakeError): Promise<SqlError> {
  return new SqlError('failed', messageOf(await asMissingFile(store, snapshot, cause)), { cause })
}

function wholeFile(file: LiveFile, path: string): EnginePart {
  return { file, path, runs: [{ firstRow: 0, rows: Number.POSITIVE_INFINITY }] }
}

/** Runs what fetches files of the table. Rejects with SqlError. */
export async function fetching<T>(folder: string, signal: AbortSignal | undefined, run: () => Promise<T>): Promise<T> {
  try {
    return await run()
  } catch (cause) {
    signal?.throwIfAborted()
    if (cause instanceof LakeError) throw new SqlError('failed', cause.message, { cause })
    const why = errnoOf(cause) === 'ENOSPC' ? 'the disk is full' : messageOf(cause)
    throw new SqlError('failed', `the files of the table cannot be fetched to ${folder}: ${why}`, { cause })
  }
}

function remember(key: string): void {
  if (known.size >= KNOWN_MAX) known.clear()
  known.add(key)
}

/** An error, as a value, for a file that is not there. */
async function openFile({ store }: Table, file: LiveFile): Promise<OpenFile | LakeError> {
  const source = storeSource(store, file.path, file.sizeBytes)
  try {
    const { footer, metadata } = await readFooterBytes(source)
    const dataEnd = file.sizeBytes - metadata.length - FOOTER_END_BYTES
    return { file, source, footer, raw: new RawFooter(metadata), dataEnd }
  } catch (cause) {
    if (cause instanceof ParquetError) throw new SqlError('failed', cause.message, { cause })
    if (cause instanceof LakeError && cause.code !== 'not_found') throw new SqlError('failed', cause.message, { cause })
    if (cause instanceof LakeError) return cause
    throw new SqlError('failed', `${source.name}: the footer cannot be read: ${messageOf(cause)}`, { cause })
  }
}

function asStored(field: Field): Field {
  return { ...field, type: storedType(field.type) }
}

async function copied(
  { file: live, source, footer }: OpenFile,
  schema: Schema,
  folder: string,
  groups: readonly number[],
  signal: AbortSignal | undefined,
): Promise<string> {
  const path = copyPath(folder, live)
  async function* rows(): AsyncGenerator<Batch> {
    for (const group of groups) yield await readRowGroup(source, footer, group, schema)
  }
  await storeRows(path, schema, rows(), { name: source.name, signal })
  return path
}

/**
 * Writes rows to a new file of this machine, in the types that the engine reads, and gives their number; the folder is made when it is needed.
 * `name`: what they are rows of. SqlError `failed`, TableError of who gives the rows.
 */
export async function storeRows(
  path: string,
  schema: Schema,
  batches: AsyncIterable<Batch>,
  { name, signal }: { readonly name: string; readonly signal: AbortSignal | undefined },
): Promise<number> {
  const isStored = schema.map(({ type }) => type.kind !== 'void')
  const folder = dirname(path)
  try {
    await mkdir(folder, { recursive: true, mode: 0o700 })
    const file = await open(path, 'wx', 0o600)
    try {
      const columns = schema.filter((_, i) => isStored[i]!).map(asStored)
      const writer = new ParquetFileWriter({ write: bytes => file.writeFile(bytes) }, columns)
      for await (const { rows, vectors } of batches) {
        signal?.throwIfAborted()
        await writer.write({ rows, vectors: vectors.filter((_, i) => isStored[i]!) })
      }
      return (await writer.finish()).rows
    } finally {
      await file.close()
    }
  } catch (cause) {
    signal?.throwIfAborted()
    if (cause instanceof LakeError) throw new SqlError('failed', cause.message, { cause })
    const why = errnoOf(cause) === 'ENOSPC' ? 'the disk is full' : messageOf(cause)
    throw new SqlError('failed', `${name} cannot be made readable for SQL in ${folder}: ${why}`, { cause })
  }
}
