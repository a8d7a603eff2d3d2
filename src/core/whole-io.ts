import { readSync, writeSync } from 'node:fs'

/** Writes all of the bytes: write(2) may take a part of them. `position`: undefined where the file stands. */
export function writeWhole(fd: number, bytes: Uint8Array, position?: number): void {
  for (let done = 0; done < bytes.length; ) {
    done += writeSync(fd, bytes, done, bytes.length - done, position === undefined ? null : position + done)
  }
}

/** Reads into all of `bytes` from a position on; returns how many there were, fewer only where the file ends. */
export function readWhole(fd: number, bytes: Uint8Array, position: number): number {
  let done = 0
  while (done < bytes.length) {
    const count = readSync(fd, bytes, done, bytes.length - done, position + done)
    if (count === 0) break
    done += count
  }
  return done
}
