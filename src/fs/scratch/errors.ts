import { errnoOf, messageOf } from '../../core/errors.ts'
import { FsError, type FsErrorCode } from '../filesystem.ts'

/** The codes of the system that have one for the client. Everything else is EIO. */
const CODES: Readonly<Record<string, FsErrorCode>> = {
  EPERM: 'EPERM',
  ENOENT: 'ENOENT',
  EACCES: 'EACCES',
  EEXIST: 'EEXIST',
  EXDEV: 'EXDEV',
  ENOTDIR: 'ENOTDIR',
  EISDIR: 'EISDIR',
  EINVAL: 'EINVAL',
  EFBIG: 'EFBIG',
  ENOSPC: 'ENOSPC',
  EROFS: 'EROFS',
  ENAMETOOLONG: 'ENAMETOOLONG',
  ENOTEMPTY: 'ENOTEMPTY',
  EDQUOT: 'EDQUOT',
  ESTALE: 'ESTALE',
  EMLINK: 'EMLINK',
  ENOTSUP: 'EPERM',
  EOPNOTSUPP: 'EPERM',
  ETXTBSY: 'EACCES',
  // The path changed to a symbolic link since it was looked at.
  ELOOP: 'ESTALE',
  // Too many descriptors are open just now: the client asks again by itself.
  EMFILE: 'EJUKEBOX',
  ENFILE: 'EJUKEBOX',
  SQLITE_FULL: 'ENOSPC',
  SQLITE_BUSY: 'EJUKEBOX',
}

/** A failed system call as an FsError; `what` begins the sentence, such as `notes/a.txt cannot be written`. */
export function systemError(what: string, error: unknown): FsError {
  if (error instanceof FsError) return error
  const code = CODES[errnoOf(error) ?? ''] ?? 'EIO'
  return new FsError(code, `${what}: ${messageOf(error)}`, { cause: error })
}

/** Runs quick system calls and turns what they throw into an FsError. */
export function attempt<T>(what: string, run: () => T): T {
  try {
    return run()
  } catch (error) {
    throw systemError(what, error)
  }
}

/** The handle stands for something that is not there any more. */
export function stale(id: bigint): FsError {
  return new FsError('ESTALE', `the file with the id ${id} was removed or replaced`)
}

export function isDirectory(name: string): FsError {
  return new FsError('EISDIR', `${name} is a directory`)
}

export function notDirectory(name: string): FsError {
  return new FsError('ENOTDIR', `${name} is not a directory`)
}

export function notEmpty(name: string): FsError {
  return new FsError('ENOTEMPTY', `${name} is not empty`)
}

/** Begins at once, and lets only FsErrors out. */
export async function guarded<T>(what: string, run: () => Promise<T>): Promise<T> {
  try {
    return await run()
  } catch (error) {
    throw systemError(what, error)
  }
}
