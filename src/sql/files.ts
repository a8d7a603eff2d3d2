import { mkdir, open } from 'node:fs/promises'
import { join } from 'node:path'
import { ParquetError } from '../columns/errors.ts'
import { type Footer, readFooter, readRowGroup } from '../columns/parquet/read.ts'
import { type ByteSource, storeSource } from '../columns/parquet/source.ts'
import { ParquetFileWriter } from '../columns/parquet/write.ts'
import { physicalName, schemaFingerprint } from '../columns/schema.ts'
import type { Field, Schema } from '../columns/types.ts'
import { errnoOf, LakeError, messageOf } from '../core/errors.ts'
import { schemaInFiles } from '../table/column-mapping.ts'
import type { LiveFile, Snapshot } from '../table/snapshot.ts'
import type { Table } from '../table/table.ts'
import { TEXT_TAG } from '../table/tags.ts'
import { SqlError } from './errors.ts'
import { readsInPlace } from './in-place.ts'
import { localPathOf, type PathOf } from './relation.ts'
import { copyPath, type RemoteFile, RemoteFiles } from './remote-files.ts'
import { storedType } from './types.ts'

/** Footers that are read at the same time. */
const PARALLEL = 16
/** Files that this process has found to be readable in place, by what that follows from: path, size, time and columns. */
const known = new Set<string>()
const KNOWN_MAX = 100_000

export interface EngineFilesOptions {
  /** Files that the engine is known to refuse. */
  readonly isRefused?: (file: LiveFile) => boolean
  /** Ends the copying. */
  readonly signal?: AbortSignal | undefined
  /** Gets files that are elsewhere before anything but their footers is fetched; without it all of them is. */
  readonly later?: ((files: RemoteFiles) => void) | undefined
}

/**
 * Where the engine finds the files of a snapshot: in place, or, where it would read something else than our own reader does
 * (`readsInPlace`), in a copy that our reader makes in `folder`: the same rows, each at its place. Files that are not on this
 * machine are fetched into `folder`. The folder is made when it is needed. Rejects with SqlError, also for a file that nobody can read.
 */
export async function pathsForEngine(
  table: Table,
  snapshot: Snapshot,
  folder: string,
  { isRefused = () => false, signal, later }: EngineFilesOptions = {},
): Promise<PathOf> {
  const schema = schemaInFiles(snapshot).filter(
    ({ name, type }) => type.kind !== 'void' && !snapshot.partitionColumns.includes(name),
  )
  const fingerprint = schemaFingerprint(schema)
  const keyOf = (file: LiveFile): string =>
    `${table.store.location}/${file.path}\0${file.sizeBytes}\0${file.modificationTime}\0${fingerprint}`
  // Our own files need not be looked into, unless fields can have gone from inside others since: only mapped ones can.
  const isMapped = schema.some(field => physicalName(field) !== field.name)
  const isOurs = (file: LiveFile): boolean => !isMapped && file.tag(TEXT_TAG) !== undefined
  const doubtful = snapshot.files.filter(file => isRefused(file) || !(isOurs(file) || known.has(keyOf(file))))
  const copies = new Map<LiveFile, string>()
  for (let start = 0; start < doubtful.length; start += PARALLEL) {
    const some = doubtful.slice(start, start + PARALLEL)
    const footers = await Promise.all(some.map(file => openFile(table, file)))
    for (const [i, opened] of footers.entries()) {
      const file = some[i]!
      if (opened === undefined) continue
      if (!isRefused(file) && readsInPlace(opened.footer, schema)) remember(keyOf(file))
      else copies.set(file, await copied(opened, schema, folder, `${copies.size}.parquet`, signal))
    }
  }
  const elsewhere = snapshot.files.filter(file => !copies.has(file) && table.store.localPath(file.path) === undefined)
  for (const file of elsewhere) copies.set(file, copyPath(folder, file))
  if (elsewhere.length > 0) {
    await fetching(folder, signal, async () => {
      const files = await remoteFiles(table, elsewhere)
      const remote = await RemoteFiles.open(folder, files, schemaInFiles(snapshot), signal)
      if (later === undefined) await remote.fetch()
      else later(remote)
    })
  }
  return file => copies.get(file) ?? localPathOf(table, file)
}

async function remoteFiles(table: Table, files: readonly LiveFile[]): Promise<RemoteFile[]> {
  const found: RemoteFile[] = []
  for (let start = 0; start < files.length; start += PARALLEL) {
    const some = files.slice(start, start + PARALLEL).map(async (file): Promise<RemoteFile> => {
      const source = storeSource(table.store, file.path, file.sizeBytes)
      return { file, source, footer: await readFooter(source) }
    })
    found.push(...(await Promise.all(some)))
  }
  return found
}

/** Runs what fetches files of the table. Rejects with SqlError. */
export async function fetching(
  folder: string,
  signal: AbortSignal | undefined,
  fetchAll: () => Promise<void>,
): Promise<void> {
  try {
    await fetchAll()
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

/** A file whose footer has been read. */
interface OpenFile {
  readonly source: ByteSource
  readonly footer: Footer
}

/** Undefined for a file that is not there: the engine says so, if the statement gets to it. */
async function openFile({ store }: Table, { path, sizeBytes }: LiveFile): Promise<OpenFile | undefined> {
  const source = storeSource(store, path, sizeBytes)
  try {
    return { source, footer: await readFooter(source) }
  } catch (cause) {
    if (cause instanceof ParquetError) throw new SqlError('failed', cause.message, { cause })
    if (cause instanceof LakeError && cause.code !== 'not_found') throw new SqlError('failed', cause.message, { cause })
    return undefined
  }
}

function asStored(field: Field): Field {
  return { ...field, type: storedType(field.type) }
}

async function copied(
  { source, footer }: OpenFile,
  schema: Schema,
  folder: string,
  name: string,
  signal: AbortSignal | undefined,
): Promise<string> {
  try {
    await mkdir(folder, { recursive: true, mode: 0o700 })
    const path = join(folder, name)
    const file = await open(path, 'wx', 0o600)
    try {
      const writer = new ParquetFileWriter({ write: bytes => file.writeFile(bytes) }, schema.map(asStored))
      for (let group = 0; group < footer.rowGroups.length; group++) {
        signal?.throwIfAborted()
        await writer.write(await readRowGroup(source, footer, group, schema))
      }
      await writer.finish()
    } finally {
      await file.close()
    }
    return path
  } catch (cause) {
    signal?.throwIfAborted()
    if (cause instanceof LakeError) throw new SqlError('failed', cause.message, { cause })
    const why = errnoOf(cause) === 'ENOSPC' ? 'the disk is full' : messageOf(cause)
    throw new SqlError('failed', `${source.name} cannot be made readable for SQL in ${folder}: ${why}`, { cause })
  }
}
