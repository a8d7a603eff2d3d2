import { open, readdir, stat, unlink } from 'node:fs/promises'
import { join } from 'node:path'
import { errnoOf, messageOf } from '../core/errors.ts'
import { compareByBytes } from '../core/text-order.ts'
import { readWhole, storageError } from './local.ts'
import { MadeFolders } from './made-folders.ts'
import type { ReadableFile } from './readable-file.ts'

/*
 * Files on this machine that somebody names and that are no table's: they are read, and never written.
 */

/** Stands for standard input among paths. */
const STDIN = '-'

/** The entry that a path leads to. */
export type LocalEntry =
  | { readonly kind: 'file' | 'folder'; readonly sizeBytes: number; readonly id: string }
  /** An entry that can be read only once, such as a pipe. */
  | { readonly kind: 'stream'; readonly name: string }
  | { readonly kind: 'other' }
  | { readonly kind: 'unreadable'; readonly why: string; readonly cause: unknown }

/** Looks at a path; `-` is standard input. */
export async function localEntry(path: string): Promise<LocalEntry> {
  if (path === STDIN) return { kind: 'stream', name: 'standard input' }
  try {
    const info = await stat(path)
    const id = `${info.dev}:${info.ino}`
    if (info.isFile()) return { kind: 'file', sizeBytes: info.size, id }
    if (info.isDirectory()) return { kind: 'folder', sizeBytes: info.size, id }
    if (info.isFIFO() || info.isCharacterDevice() || info.isSocket()) return { kind: 'stream', name: path }
    return { kind: 'other' }
  } catch (cause) {
    return { kind: 'unreadable', why: errnoOf(cause) === 'ENOENT' ? 'there is no such file' : messageOf(cause), cause }
  }
}

/** The names in a folder, in the order of their bytes. */
export async function localNames(folder: string): Promise<string[]> {
  return (await readdir(folder)).sort(compareByBytes)
}

/**
 * The paths that a pattern stands for, in their order: itself if something is there or it is none. Where it matches folders
 * alone, such as those of partitions, it means them.
 */
export async function localMatches(pattern: string): Promise<string[]> {
  if ((await localEntry(pattern)).kind !== 'unreadable' || !/[*?[{]/.test(pattern)) return [pattern]
  const glob = new Bun.Glob(pattern)
  const files = (await Array.fromAsync(glob.scan({ onlyFiles: true }))).sort()
  return files.length > 0 ? files : (await Array.fromAsync(glob.scan({ onlyFiles: false }))).sort()
}

/** A file that is opened for each read, so that any number of them may be at hand. Reads reject as the system does. */
export function localFile(path: string, sizeBytes: number, name = path): ReadableFile {
  return {
    name,
    sizeBytes,
    read: async (start, end) => {
      const file = await open(path, 'r')
      try {
        return await readWhole(file, start, end)
      } finally {
        await file.close()
      }
    },
  }
}

/** The copy of a stream, which is taken away when it is disposed of, with the folders that were made for it. */
export interface Spool extends ReadableFile, AsyncDisposable {}

/** Copies a stream (`-`, or a path) into `folder`, where it can be read again and again. StorageError. */
export async function spooled(
  path: string,
  name: string,
  folder: string,
  signal: AbortSignal | undefined,
): Promise<Spool> {
  const folders = new MadeFolders()
  const copy = join(folder, `.posixlake-${crypto.randomUUID()}.tmp`)
  const drop = async (): Promise<void> => {
    await unlink(copy).catch(() => undefined)
    await folders.removeEmpty(folder)
  }
  try {
    const sink = await folders.make(folder, async () => Bun.file(copy).writer())
    let sizeBytes = 0
    for await (const bytes of (path === STDIN ? Bun.stdin : Bun.file(path)).stream()) {
      signal?.throwIfAborted()
      sink.write(bytes)
      await sink.flush()
      sizeBytes += bytes.length
    }
    await sink.end()
    return { ...localFile(copy, sizeBytes, name), [Symbol.asyncDispose]: drop }
  } catch (error) {
    await drop()
    throw errnoOf(error) === undefined ? error : storageError(copy, error)
  }
}
