import { closeSync, fdatasync, fsyncSync, ftruncateSync, openSync, renameSync, unlinkSync, writeSync } from 'node:fs'

/** The calls that change what is on disk of saves under way. Each throws the system's error. */
export interface Disk {
  open(path: string, flags: 'wx+'): number
  /** Returns how many bytes were written. */
  write(fd: number, bytes: Uint8Array, start: number, length: number, position: number): number
  truncate(fd: number, size: number): void
  /** All bytes of a file are durable when it resolves. */
  sync(fd: number): Promise<void>
  /** The names in a folder are durable when it returns. */
  syncFolder(path: string): void
  rename(from: string, to: string): void
  unlink(path: string): void
}

export const systemDisk: Disk = {
  open: (path, flags) => openSync(path, flags, 0o600),
  write: (...args) => writeSync(...args),
  truncate: (fd, size) => ftruncateSync(fd, size),
  sync: fd => new Promise((done, fail) => fdatasync(fd, error => (error === null ? done() : fail(error)))),
  syncFolder: path => {
    const fd = openSync(path, 'r')
    try {
      fsyncSync(fd)
    } finally {
      closeSync(fd)
    }
  },
  rename: (from, to) => renameSync(from, to),
  unlink: path => unlinkSync(path),
}

/** Writes all of `bytes` at a position. */
export function writeAll(disk: Disk, fd: number, bytes: Uint8Array, position: number): void {
  let done = 0
  while (done < bytes.length) done += disk.write(fd, bytes, done, bytes.length - done, position + done)
}
