import { FsError } from './filesystem.ts'

const NAME_BYTES_MAX = 255

/** Raises EINVAL or ENAMETOOLONG for what cannot be the name of a file. */
export function checkName(name: string): void {
  if (
    name === '' ||
    name === '.' ||
    name === '..' ||
    name.includes('/') ||
    name.includes('\0') ||
    !name.isWellFormed()
  ) {
    throw new FsError('EINVAL', `${JSON.stringify(name)} is no name for a file`)
  }
  if (Buffer.byteLength(name) > NAME_BYTES_MAX) {
    throw new FsError('ENAMETOOLONG', `a name has at most ${NAME_BYTES_MAX} bytes`)
  }
}

/** True if an NFS client gave this name to an open file that was removed ("silly rename"). */
export function isSillyName(name: string): boolean {
  return name.startsWith('.nfs')
}

/** A change of a view or of its name that is not taken. `.errors` tells of it too: an NFS status is only a number. */
export class RefusedChange extends FsError {}

/** A view that cannot be edited was to be removed, renamed or replaced; or one that can, to take another's name. */
export function viewStays(name: string): RefusedChange {
  return new RefusedChange(
    'EACCES',
    `${name}: it is a view of the table, and cannot be removed, renamed or replaced; change the rows in data.csv, data.jsonl or by SQL`,
  )
}

export function noEntry(name: string): FsError {
  return new FsError('ENOENT', `there is no ${name}`)
}

export function exists(name: string): FsError {
  return new FsError('EEXIST', `${name} exists`)
}
