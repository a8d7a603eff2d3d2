import {
  chmodSync,
  closeSync,
  fsyncSync,
  mkdirSync,
  openSync,
  readFileSync,
  renameSync,
  rmSync,
  statSync,
} from 'node:fs'
import { dirname, join } from 'node:path'
import { errnoOf, messageOf } from '../core/errors.ts'
import { onceDone } from '../core/once.ts'
import { writeWhole } from '../core/whole-io.ts'
import { cacheHome } from '../core/xdg.ts'
import { SqlError } from './errors.ts'

/** One file of DuckDB's native package, inside the executable. */
export interface EmbeddedFile {
  /** The name that it must have on disk: the module finds the library beside itself by name. */
  readonly name: string
  /** Its place inside the executable. */
  readonly path: string
  readonly sizeBytes: number
}

export interface EmbeddedEngine {
  /** Stands for the contents of all files; part of the folder's name. */
  readonly fingerprint: string
  readonly files: readonly EmbeddedFile[]
}

const MODULE_NAME = 'duckdb.node'

/**
 * Loads DuckDB's native module out of the executable: a shared library can only be loaded from a file, so the files are
 * unpacked into the cache folder when this version is first used. SqlError `unavailable` says what to do if that fails.
 */
export function loadEmbedded(engine: EmbeddedEngine, cache = cacheHome()): unknown {
  const directory = join(cache, `duckdb-${engine.fingerprint}`)
  const fresh = unpack(engine, directory)
  try {
    return load(join(directory, MODULE_NAME))
  } catch (error) {
    if (fresh) throw unloadable(directory, error)
  }
  // An unpacked copy that does not load is damaged: it is made anew, once.
  rmSync(directory, { recursive: true, force: true })
  unpack(engine, directory)
  try {
    return load(join(directory, MODULE_NAME))
  } catch (error) {
    throw unloadable(directory, error)
  }
}

function load(path: string): unknown {
  const module = { exports: {} }
  process.dlopen(module as NodeJS.Module, path)
  return module.exports
}

/** Makes sure that the files are in `directory`. True if they had to be written. */
function unpack(engine: EmbeddedEngine, directory: string): boolean {
  try {
    if (isUnpacked(engine, directory)) return false
    const parent = dirname(directory)
    mkdirSync(parent, { recursive: true, mode: 0o700 })
    const staging = `${directory}.${process.pid}.tmp`
    rmSync(staging, { recursive: true, force: true })
    try {
      mkdirSync(staging, { mode: 0o700 })
      for (const file of engine.files) writeDurably(join(staging, file.name), readFileSync(file.path))
      putInPlace(engine, staging, directory)
    } finally {
      rmSync(staging, { recursive: true, force: true })
    }
    return true
  } catch (cause) {
    if (cause instanceof SqlError) throw cause
    const why = errnoOf(cause) === 'ENOSPC' ? 'the disk is full' : messageOf(cause)
    throw new SqlError(
      'unavailable',
      `the SQL engine cannot be unpacked into ${directory}: ${why}; make room there or set XDG_CACHE_HOME to a folder that can be written`,
      { cause },
    )
  }
}

/** Another process may have been quicker, which is as good. */
function putInPlace(engine: EmbeddedEngine, staging: string, directory: string): void {
  try {
    renameSync(staging, directory)
  } catch (error) {
    if (isUnpacked(engine, directory)) return
    if (errnoOf(error) !== 'ENOTEMPTY' && errnoOf(error) !== 'EEXIST') throw error
    rmSync(directory, { recursive: true, force: true })
    renameSync(staging, directory)
  }
}

function isUnpacked(engine: EmbeddedEngine, directory: string): boolean {
  const folder = statSync(directory, { throwIfNoEntry: false })
  if (folder === undefined) return false
  // What is loaded runs as this user, so nobody else may have been able to put it there.
  const stranger = process.getuid !== undefined && folder.uid !== process.getuid()
  if (stranger || (folder.mode & 0o022) !== 0) {
    throw new SqlError(
      'unavailable',
      `the SQL engine in ${directory} could have been changed by another user; remove that folder, or set XDG_CACHE_HOME to a folder of your own`,
    )
  }
  return engine.files.every(
    file => statSync(join(directory, file.name), { throwIfNoEntry: false })?.size === file.sizeBytes,
  )
}

function writeDurably(path: string, bytes: Uint8Array): void {
  const file = openSync(path, 'wx', 0o600)
  try {
    writeWhole(file, bytes)
    fsyncSync(file)
  } finally {
    closeSync(file)
  }
  chmodSync(path, 0o500)
}

function unloadable(directory: string, cause: unknown): SqlError {
  return new SqlError('unavailable', `the SQL engine in ${directory} cannot be loaded: ${messageOf(cause)}`, { cause })
}

export type DuckDb = typeof import('@duckdb/node-api')

/** The engine's API, loaded on first use: a mount that never runs SQL does not pay for it. */
export const duckDb: () => Promise<DuckDb> = onceDone(() =>
  import('@duckdb/node-api').catch((cause: unknown) => {
    if (cause instanceof SqlError) throw cause
    throw new SqlError('unavailable', `the SQL engine cannot be loaded: ${messageOf(cause)}`, { cause })
  }),
)
