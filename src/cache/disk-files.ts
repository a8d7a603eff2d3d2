import { readFileSync, statSync } from 'node:fs'
import { type FileHandle, mkdir, open, readdir, rename, stat, unlink } from 'node:fs/promises'
import { dirname, join } from 'node:path'
import { errnoOf } from '../core/errors.ts'
import { discarded } from '../core/garbage.ts'

/** Files of this size and more are mapped, smaller ones read. */
const MAP_BYTES_MIN = 1 << 20
/** The memory of a mapping is the system's cache of the file, which it can take back: such garbage may lie for longer. */
const MAPPED_WEIGHT = 1 / 4
/** A process that died may leave files behind; younger ones may be another's work in progress. */
const STRAY_MS = 3600_000
const STRAYS_REMOVED_MAX = 10_000

const FOLDER = /^[0-9a-f]{2}$/
/** A blob, or one that is being written. Earlier formats had no second part. */
const FILE = /^[0-9a-f]{40}(\.[0-9a-f-]{36})?(\.tmp)?$/

/** A name for a new file of a value: never used before, so that nobody else replaces or removes it. */
export function newBlobName(name: string): string {
  return `${name.slice(0, 2)}/${name}.${crypto.randomUUID()}`
}

/** The path of a file that the index names. Undefined if no cache would have named it so: it may be anything. */
function pathOf(directory: string, file: string): string | undefined {
  const [folder = '', name = '', ...rest] = file.split('/')
  return FOLDER.test(folder) && FILE.test(name) && rest.length === 0 ? join(directory, folder, name) : undefined
}

/** The bytes of a file; a mapping if they are many. Undefined if the file is not there or has another size. */
export function readBlob(directory: string, file: string, size: number): Uint8Array | undefined {
  const path = pathOf(directory, file)
  if (path === undefined || statSync(path, { throwIfNoEntry: false })?.size !== size) return undefined
  try {
    if (size < MAP_BYTES_MIN) return readFileSync(path)
    // The mappings of earlier reads end when they are collected.
    discarded(size * MAPPED_WEIGHT)
    return Bun.mmap(path)
  } catch (error) {
    // Another process may have removed it since.
    if (errnoOf(error) === 'ENOENT') return undefined
    throw error
  }
}

/**
 * Writes a file under a temporary name and renames it. Not synced: after a crash of the machine it may hold other bytes,
 * which its checksum tells, and it would be rendered again. Rejects with what the system says.
 */
export async function writeBlob(directory: string, file: string, bytes: Uint8Array): Promise<void> {
  const path = join(directory, file)
  const temporary = `${path}.tmp`
  try {
    const handle = await openNew(temporary)
    try {
      await handle.writeFile(bytes)
    } finally {
      await handle.close()
    }
    await rename(temporary, path)
  } catch (error) {
    await unlink(temporary).catch(() => undefined)
    throw error
  }
}

/** Opens a new file; its folder is there as a rule, and made if it is not. */
async function openNew(path: string): Promise<FileHandle> {
  try {
    return await open(path, 'wx', 0o600)
  } catch (error) {
    if (errnoOf(error) !== 'ENOENT') throw error
    await mkdir(dirname(path), { recursive: true, mode: 0o700 })
    return open(path, 'wx', 0o600)
  }
}

/** Removes a file that no row names any more. Who has it mapped keeps it: only the name goes. */
export async function removeBlob(directory: string, file: string): Promise<void> {
  const path = pathOf(directory, file)
  // What stays behind is removed as a stray in time.
  if (path !== undefined) await unlink(path).catch(() => undefined)
}

/**
 * Removes what processes that died left behind: blobs and temporary files that are older than an hour and that no row
 * names. Touches nothing that is not named as a cache would. Ends early when `stopped` says so.
 */
export async function removeStrays(
  directory: string,
  isNamed: (file: string) => boolean,
  stopped: () => boolean,
): Promise<void> {
  let left = STRAYS_REMOVED_MAX
  for (const folder of await readdir(directory)) {
    if (!FOLDER.test(folder)) continue
    for (const name of await readdir(join(directory, folder)).catch(() => [])) {
      if (stopped() || left === 0) return
      const path = join(directory, folder, name)
      if (!FILE.test(name) || isNamed(`${folder}/${name}`) || !(await isOldFile(path))) continue
      await unlink(path).catch(() => undefined)
      left--
    }
  }
}

async function isOldFile(path: string): Promise<boolean> {
  const found = await stat(path).catch(() => undefined)
  return found?.isFile() === true && Date.now() - found.mtimeMs > STRAY_MS
}
