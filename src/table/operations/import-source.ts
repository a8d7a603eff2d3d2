import { randomUUID } from 'node:crypto'
import { existsSync, mkdirSync, rmSync } from 'node:fs'
import { type FileHandle, open, stat, unlink } from 'node:fs/promises'
import { dirname, join } from 'node:path'
import { TextError } from '../../columns/errors.ts'
import type { Schema } from '../../columns/types.ts'
import type { WorkerPool } from '../../columns/workers/pool.ts'
import type { Clock } from '../../core/clock.ts'
import { errnoOf, messageOf } from '../../core/errors.ts'
import { localStore, storageError } from '../../storage/local.ts'
import type { NewFile } from '../commit/change-set.ts'
import { TableError } from '../errors.ts'
import { checkNoTable, createTable, type Table } from '../table.ts'

export interface ImportOptions {
  readonly pool: WorkerPool
  readonly clock?: Clock
  readonly name?: string
  /** The columns; found from the data if not given. */
  readonly schema?: Schema
  readonly progress?: (doneBytes: number, totalBytes: number) => void
  /** The byte between CSV fields; found from the first rows of each file if not given. */
  readonly delimiter?: number | undefined
  /** Hears of what was found out and may surprise. */
  readonly log?: (sentence: string) => void
  /** Ends the work as if it had failed, unless the table is there already. */
  readonly signal?: AbortSignal
}

/** Stands for standard input among paths. */
const STDIN = '-'

/** A file to import: as messages call it, and where it can be read again and again. */
export interface SourceFile {
  readonly name: string
  readonly path: string
}

/** Makes the folder, and takes everything back if the work fails: it lists in `written` the data files that it began. */
export async function importing(
  directory: string,
  options: ImportOptions,
  work: (written: string[]) => Promise<{ schema: Schema; files: NewFile[] }>,
): Promise<Table> {
  const made = firstMissing(directory)
  mkdirSync(directory, { recursive: true })
  const store = localStore(directory)
  const written: string[] = []
  try {
    await checkNoTable(store)
    const { schema, files } = await work(written)
    const { name, clock, signal } = options
    signal?.throwIfAborted()
    const table = await createTable(store, {
      schema,
      add: files,
      ...(name === undefined ? {} : { name }),
      ...(clock === undefined ? {} : { clock }),
    })
    const kept = new Set(files.map(({ path }) => path))
    await takeAway(
      directory,
      written.filter(path => !kept.has(path)),
    )
    return table
  } catch (error) {
    await takeAway(directory, written)
    if (made !== undefined) rmSync(made, { recursive: true, force: true })
    throw error
  }
}

/** What stays behind does no harm: no version names it. */
export async function takeAway(directory: string, paths: readonly string[]): Promise<void> {
  await Promise.all(paths.map(path => unlink(join(directory, path)).catch(() => undefined)))
}

/** The topmost folder that has to be made. */
function firstMissing(directory: string): string | undefined {
  let missing: string | undefined
  for (let path = directory; !existsSync(path); path = dirname(path)) missing = path
  return missing
}

/** What can be read only once, such as a pipe, is copied beside the data first. */
export async function sourceFile(
  path: string,
  directory: string,
  written: string[],
  { signal }: ImportOptions,
): Promise<SourceFile> {
  if (path !== STDIN && !(await isPipe(path))) return { name: path, path }
  const name = path === STDIN ? 'standard input' : path
  const copy = `.posixlake-${randomUUID()}.tmp`
  const full = join(directory, copy)
  written.push(copy)
  try {
    const sink = Bun.file(full).writer()
    for await (const bytes of (path === STDIN ? Bun.stdin : Bun.file(path)).stream()) {
      signal?.throwIfAborted()
      sink.write(bytes)
      await sink.flush()
    }
    await sink.end()
  } catch (error) {
    throw errnoOf(error) === undefined ? error : storageError(full, error)
  }
  return { name, path: full }
}

async function isPipe(path: string): Promise<boolean> {
  const info = await stat(path).catch(() => undefined)
  return info !== undefined && (info.isFIFO() || info.isCharacterDevice() || info.isSocket())
}

export async function openFile({ name, path }: SourceFile): Promise<FileHandle> {
  let isFolder = false
  try {
    const file = await open(path, 'r')
    const info = await file.stat()
    if (info.isFile()) return file
    isFolder = info.isDirectory()
    await file.close()
  } catch (error) {
    const why = errnoOf(error) === 'ENOENT' ? 'there is no such file' : messageOf(error)
    throw new TableError('missing_file', `${name}: ${why}`, { cause: error })
  }
  const advice = isFolder ? `; name the files in it, as a pattern in quotes: '${join(name, '*')}'` : ''
  throw new TableError('missing_file', `${name} is not a file${advice}`)
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
