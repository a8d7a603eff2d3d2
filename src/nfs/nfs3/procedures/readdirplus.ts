import { paddingOf } from '../../xdr/codec.ts'
import { utf8Bytes } from '../../xdr/primitives.ts'
import { fattrOf } from '../convert.ts'
import { HANDLE_BYTES } from '../handles.ts'
import { nfs3Procedure } from '../procedure.ts'
import { FATTR3_BYTES, failure, READDIRPLUS3args, READDIRPLUS3resok } from '../wire.ts'
import { ENTRY_BYTES, entriesWithin, LISTING_BYTES, LISTING_BYTES_MAX, tooSmall } from './readdir.ts'

/** Bytes that READDIRPLUS adds to an entry: attributes_follow (4), handle_follows (4), handle with its length. */
const PLUS_BYTES = 4 + 4 + 4 + HANDLE_BYTES + paddingOf(HANDLE_BYTES)
/** Bytes of an entry that count towards dircount: file id (8), name with its length (4), cookie (8). */
const DIRCOUNT_ENTRY_BYTES = 20

/**
 * RFC 1813, 3.3.17. `maxcount` bounds READDIRPLUS3resok, `dircount` the names, ids and cookies alone; the first entry
 * is sent whatever dircount says, as long as it fits into maxcount.
 */
export const readdirplus = nfs3Procedure({
  number: 17,
  name: 'READDIRPLUS',
  args: READDIRPLUS3args,
  ok: READDIRPLUS3resok,
  fail: failure.attributes,
  replyBytesMax: ({ maxcount }) => Math.min(maxcount, LISTING_BYTES_MAX),
  async handle({ dir, cookie, dircount, maxcount }, { fs, handles, node, fsid }) {
    const bytesMax = Math.min(maxcount, LISTING_BYTES_MAX)
    const listing = await fs.readdir(node(dir), cookie, entriesWithin(bytesMax, ENTRY_BYTES + PLUS_BYTES))
    const entries = []
    let bytes = LISTING_BYTES
    let dirBytes = 0
    for (const entry of listing.entries) {
      const name = utf8Bytes(entry.name)
      const nameBytes = name.length + paddingOf(name.length)
      bytes += ENTRY_BYTES + nameBytes + PLUS_BYTES + (entry.attributes === undefined ? 0 : FATTR3_BYTES)
      dirBytes += DIRCOUNT_ENTRY_BYTES + nameBytes
      if (bytes > bytesMax || (dirBytes > dircount && entries.length > 0)) break
      entries.push({
        fileid: entry.fileId,
        name,
        cookie: entry.cookie,
        name_attributes: fattrOf(entry.attributes, fsid(entry.node)),
        name_handle: handles.make(entry.node),
      })
    }
    const all = entries.length === listing.entries.length
    if (entries.length === 0 && !all) throw tooSmall(maxcount)
    return { dir_attributes: undefined, cookieverf: listing.verifier, entries, eof: all && listing.endOfDirectory }
  },
})
