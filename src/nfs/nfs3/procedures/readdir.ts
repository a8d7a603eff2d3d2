import { FsError } from '../../../fs/filesystem.ts'
import { paddingOf } from '../../xdr/codec.ts'
import { utf8Bytes } from '../../xdr/primitives.ts'
import { nfs3Procedure } from '../procedure.ts'
import { failure, READDIR3args, READDIR3resok } from '../wire.ts'

/** READDIR3resok without entries: no directory attributes (4), verifier (8), end of the list (4), eof (4). */
export const LISTING_BYTES = 20
/** An entry without its name: follows (4), fileid (8), name length (4), cookie (8). */
export const ENTRY_BYTES = 24
/** No client asks for more, and a reply has to fit in a message. */
export const LISTING_BYTES_MAX = 1024 * 1024
const NAME_BYTES_MIN = 4

/** RFC 1813, 3.3.16. `count` bounds READDIR3resok. */
export const readdir = nfs3Procedure({
  number: 16,
  name: 'READDIR',
  args: READDIR3args,
  ok: READDIR3resok,
  fail: failure.attributes,
  replyBytesMax: ({ count }) => Math.min(count, LISTING_BYTES_MAX),
  async handle({ dir, cookie, count }, { fs, node }) {
    const bytesMax = Math.min(count, LISTING_BYTES_MAX)
    const listing = await fs.readdir(node(dir), cookie, entriesWithin(bytesMax, ENTRY_BYTES))
    const entries = []
    let bytes = LISTING_BYTES
    for (const entry of listing.entries) {
      const name = utf8Bytes(entry.name)
      bytes += ENTRY_BYTES + name.length + paddingOf(name.length)
      if (bytes > bytesMax) break
      entries.push({ fileid: entry.fileId, name, cookie: entry.cookie })
    }
    const all = entries.length === listing.entries.length
    if (entries.length === 0 && !all) throw tooSmall(count)
    return { dir_attributes: undefined, cookieverf: listing.verifier, entries, eof: all && listing.endOfDirectory }
  },
})

/** The number of entries of at least `entryBytes` that can go into a listing; at least one, to learn whether there is any. */
export function entriesWithin(bytesMax: number, entryBytes: number): number {
  return Math.max(1, Math.floor((bytesMax - LISTING_BYTES) / (entryBytes + NAME_BYTES_MIN)))
}

export function tooSmall(count: number): FsError {
  return new FsError('ETOOSMALL', `A directory listing of ${count} bytes has no room for the next entry.`)
}
