import type { Text } from './text/text.ts'

/*
 * Bytes that a client writes without having read them. While a file is open for writing, the Linux client takes over a new
 * size that it is told, but does not read the pages that it has cached anew: in its last page NULs stand for what others have
 * appended, up to the size that it was told. It appends behind that, and sends the whole page.
 */

/** Whether bytes of a WRITE are what is there, but for NULs where its client has not read what is there. */
export function isSameButUnread(written: Uint8Array, there: Uint8Array): boolean {
  if (written.length !== there.length) return false
  if (Buffer.compare(written, there) === 0) return true
  return written.every((byte, i) => byte === there[i] || byte === 0)
}

/** The same for what a text has at an offset. */
export async function hasButUnread(text: Text, offset: number, written: Uint8Array): Promise<boolean> {
  if (offset + written.length > text.size) return false
  return written.length === 0 || isSameButUnread(written, await text.read(offset, offset + written.length))
}
