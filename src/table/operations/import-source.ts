import { tmpdir } from 'node:os'
import { TextError } from '../../columns/errors.ts'
import type { Dialect } from '../../columns/text/csv.ts'
import type { Schema } from '../../columns/types.ts'
import type { Clock } from '../../core/clock.ts'
import { localEntry, localFile, spooled } from '../../storage/local-files.ts'
import type { ObjectStore } from '../../storage/object-store.ts'
import type { ReadableFile } from '../../storage/readable-file.ts'
import { StagedFiles } from '../commit/staged-files.ts'
import type { NewFile } from '../data-files/new-file.ts'
import { TableError } from '../errors.ts'
import type { Table } from '../table.ts'
import type { WorkerPool } from '../workers/pool.ts'
import { checkNoTable, createTable } from './create.ts'

export interface ImportOptions {
  readonly pool: WorkerPool
  readonly clock?: Clock
  readonly name?: string
  readonly partitionColumns?: readonly string[]
  /** See NewTable. */
  readonly deletionVectors?: boolean
  /** See NewTable. */
  readonly columnMapping?: boolean
  /** The columns; found from the data if not given. */
  readonly schema?: Schema
  readonly progress?: (doneBytes: number, totalBytes: number) => void
  /** The dialect of CSV that is not as in RFC 4180; without a delimiter it is found from the first rows of each file. */
  readonly dialect?: Partial<Dialect> | undefined
  /** Hears of what was found out and may surprise. */
  readonly log?: (sentence: string) => void
  /** Ends the work as if it had failed, unless the table is there already. */
  readonly signal?: AbortSignal
}

/** The parts of an import: the place of its table, the files that it writes, and the way to open those that it reads. */
export interface Import {
  readonly store: ObjectStore
  readonly staged: StagedFiles
  /** Opens what a path names. What can be read only once, such as a pipe, is copied first. TableError, StorageError. */
  readonly open: (path: string) => Promise<ReadableFile>
}

/**
 * Makes a table of what `work` writes, in one commit. If that fails nothing of it is left, folders that were not there
 * before included.
 */
export async function importing(
  store: ObjectStore,
  options: ImportOptions,
  work: (to: Import) => Promise<{ readonly schema: Schema; readonly files: readonly NewFile[] }>,
): Promise<Table> {
  await using copies = new AsyncDisposableStack()
  await using staged = new StagedFiles(store)
  await checkNoTable(store)
  const open = (path: string): Promise<ReadableFile> => openSource(path, store, copies, options)
  const { schema, files } = await work({ store, staged, open })
  const { name, clock, signal, partitionColumns, deletionVectors, columnMapping } = options
  signal?.throwIfAborted()
  return await createTable(store, {
    schema,
    add: files,
    staged,
    ...(name === undefined ? {} : { name }),
    ...(partitionColumns === undefined ? {} : { partitionColumns }),
    ...(deletionVectors === undefined ? {} : { deletionVectors }),
    ...(columnMapping === undefined ? {} : { columnMapping }),
    ...(clock === undefined ? {} : { clock }),
  })
}

async function openSource(
  path: string,
  store: ObjectStore,
  copies: AsyncDisposableStack,
  { signal }: ImportOptions,
): Promise<ReadableFile> {
  const entry = await localEntry(path)
  switch (entry.kind) {
    case 'file':
      return localFile(path, entry.sizeBytes)
    case 'stream': {
      // Beside the data there is room for it, if there is anywhere.
      const folder = store.localPath('_')?.slice(0, -'/_'.length) ?? tmpdir()
      return copies.use(await spooled(path, entry.name, folder, signal))
    }
    case 'folder':
      throw new TableError(
        'missing_file',
        `${path} is not a file; name the files in it, as a pattern in quotes: '${path.replace(/\/$/, '')}/*'`,
      )
    case 'other':
      throw new TableError('missing_file', `${path} is not a file`)
    case 'unreadable':
      throw new TableError('missing_file', `${path}: ${entry.why}`, { cause: entry.cause })
  }
}

/** Puts the file's name in front of what is wrong in it. */
export function named<T>(path: string, run: () => T): T {
  try {
    return run()
  } catch (error) {
    throw withName(path, error)
  }
}

export function withName(path: string, error: unknown): unknown {
  if (!(error instanceof TextError)) return error
  const { line, column } = error
  return new TextError(error.code, `${path}: ${error.message}`, {
    cause: error,
    ...(line === undefined ? {} : { line }),
    ...(column === undefined ? {} : { column }),
  })
}
