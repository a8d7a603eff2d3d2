import {
  type BigIntStats,
  chmodSync,
  closeSync,
  constants,
  fchmodSync,
  fstatSync,
  fsync,
  ftruncate,
  ftruncateSync,
  lstatSync,
  mkdirSync,
  openSync,
  read,
  rmdirSync,
  unlinkSync,
  write,
} from 'node:fs'
import { promisify } from 'node:util'
import { type CreateHow, FsError, type NewAttributes, type SetTime } from '../filesystem.ts'
import type { Text } from '../text/text.ts'
import type { Real } from './real-tree.ts'
import { NOW, setTimes } from './times.ts'

/** The largest position and size that the runtime's calls take. */
const FILE_BYTES_MAX = 2n ** 52n - 1n
const COPY_BYTES = 1 << 20
const ZEROS = new Uint8Array(COPY_BYTES)
/** Two changes within one tick of the kernel's clock carry the same time; ticks are at most so long. */
const TICK_NS = 20_000_000n

/** The modes of new files and folders if the client does not say. */
export const MODE = { file: 0o644, exclusive: 0o600, directory: 0o755, reference: 0o644 } as const
/** Bits that the server itself needs to go on reading and writing. */
const OWNER = { file: 0o600, directory: 0o700 } as const
const NEW_FILE = constants.O_CREAT | constants.O_EXCL | constants.O_RDWR | constants.O_NOFOLLOW

const readAt = promisify(read)

/** All of a file is on disk when the promise resolves. */
export function syncFile(fd: number): Promise<void> {
  return new Promise((done, fail) => fsync(fd, error => (error ? fail(error) : done())))
}

export function truncateFile(fd: number, size: number): Promise<void> {
  return new Promise((done, fail) => ftruncate(fd, size, error => (error ? fail(error) : done())))
}

/** The state of a path or of an open file. */
export function look(target: string | number): BigIntStats {
  return typeof target === 'number' ? fstatSync(target, { bigint: true }) : lstatSync(target, { bigint: true })
}

/**
 * The state after a change, with a modification time that differs from the one before: a client takes equal times for
 * equal content, but the kernel's clock stands still for some milliseconds.
 */
export function stamp(before: BigIntStats, target: string | number): BigIntStats {
  const after = look(target)
  const ahead = before.mtimeNs - after.mtimeNs
  if (ahead < 0n || ahead > TICK_NS) return after
  tryTimes(target, after.atimeNs, before.mtimeNs + 1n)
  return look(target)
}

/** References have no real file, so their changes leave no trace in the real folders: the times are moved for them. */
export function touch(...folders: Real[]): void {
  for (const { path, stat } of folders) tryTimes(path, stat.atimeNs, NOW)
}

/** The change itself was made: that the times of another owner's file cannot be moved does not undo it. */
function tryTimes(target: string | number, atime: bigint, mtime: bigint | typeof NOW): void {
  try {
    setTimes(target, atime, mtime)
  } catch {
    // Then the kernel's time stays.
  }
}

/** Sets the times that a client gave, and leaves the others. */
export function setGivenTimes(target: string | number, { atime, mtime }: NewAttributes): void {
  if (atime === undefined && mtime === undefined) return
  const present = look(target)
  setTimes(target, givenTime(atime, present.atimeNs), givenTime(mtime, present.mtimeNs))
}

function givenTime(time: SetTime | undefined, present: bigint): bigint | typeof NOW {
  if (time === undefined) return present
  return time.kind === 'server' ? NOW : time.time
}

/** Permission bits only: a client has no business making programs that run as the server's user. */
export function modeOf(type: 'file' | 'directory', mode: number): number {
  return (mode & 0o777) | OWNER[type]
}

/** A size or position, checked against what the system takes. */
export function fileOffset(value: bigint): number {
  if (value > FILE_BYTES_MAX) throw new FsError('EFBIG', `${value} bytes are beyond the largest file posixlake keeps`)
  return Number(value)
}

/** Makes a file and leaves it open. */
export function createReal(path: string, how: CreateHow): { fd: number; stat: BigIntStats } {
  const attributes: NewAttributes = how.kind === 'exclusive' ? { mode: MODE.exclusive } : how.attributes
  const size = fileOffset(attributes.size ?? 0n)
  const fd = openNew(path)
  try {
    // Not by open: the mode is the client's, and the server's umask has no say in it.
    fchmodSync(fd, modeOf('file', attributes.mode ?? MODE.file))
    if (size > 0) ftruncateSync(fd, size)
    setGivenTimes(fd, attributes)
    return { fd, stat: look(fd) }
  } catch (error) {
    closeSync(fd)
    unlinkSync(path)
    throw error
  }
}

/** Makes a folder. */
export function createFolder(path: string, attributes: NewAttributes): void {
  mkdirSync(path, OWNER.directory)
  try {
    chmodSync(path, modeOf('directory', attributes.mode ?? MODE.directory))
    setGivenTimes(path, attributes)
  } catch (error) {
    rmdirSync(path)
    throw error
  }
}

/** Fewer bytes only at the end of the file. */
export async function readFully(fd: number, count: number, offset: number): Promise<Uint8Array> {
  const bytes = Buffer.allocUnsafeSlow(count)
  let done = 0
  while (done < count) {
    const { bytesRead } = await readAt(fd, bytes, done, count - done, offset + done)
    if (bytesRead === 0) break
    done += bytesRead
  }
  return done === count ? bytes : bytes.subarray(0, done)
}

export async function writeFully(fd: number, bytes: Uint8Array, offset: number): Promise<void> {
  let done = 0
  while (done < bytes.length) {
    done += await writeAt(fd, bytes, done, offset + done)
  }
}

/** Writes bytes from `start` on at a position; the promise is of how many were written. */
function writeAt(fd: number, bytes: Uint8Array, start: number, position: number): Promise<number> {
  return new Promise((done, fail) =>
    write(fd, bytes, start, bytes.length - start, position, (error, written) => (error ? fail(error) : done(written))),
  )
}

/** A new file with the content of a text, on disk when the promise resolves. */
export async function copyText(text: Text, path: string): Promise<void> {
  const fd = openNew(path)
  try {
    ftruncateSync(fd, text.size)
    for (let at = 0; at < text.size; at += COPY_BYTES) {
      const bytes = await text.read(at, Math.min(at + COPY_BYTES, text.size))
      // Zeros are there already, and a hole may be larger than the disk.
      if (Buffer.compare(bytes, ZEROS.subarray(0, bytes.length)) !== 0) await writeFully(fd, bytes, at)
    }
    fchmodSync(fd, MODE.file)
    await syncFile(fd)
  } finally {
    closeSync(fd)
  }
}

/** A descriptor of an empty file that was not there before; nobody but the server may open it yet. */
function openNew(path: string): number {
  return openSync(path, NEW_FILE, OWNER.file)
}
