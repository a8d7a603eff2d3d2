import { type Difference, hashOf, Ordered, type Ordering } from '../../core/ordered.ts'
import type { LiveFile, LiveFiles, Snapshot } from '../../table/snapshot.ts'
import type { Table } from '../../table/table.ts'
import { MODE, type Owner, viewAttributes } from '../attributes.ts'
import { type Attributes, FsError, type ReadResult } from '../filesystem.ts'
import type { Text } from '../text/text.ts'
import type { FileNode, NodeEntry } from '../tree/node.ts'
import type { ViewDefinition } from './context.ts'
import { readText, type View } from './view.ts'

/** Far from all other ids; the rest of the id is a hash of the path, so that it is the same after a restart. */
const FIRST_PARQUET_ID = 1n << 62n
const NAME_BYTES_MAX = 255
/** Files that are gone from the table are still served to those who had them open, as long as they are on disk. */
const FORMER_KEPT = 1000

/** A data file as `data/` lists it. */
export interface ParquetEntry {
  readonly name: string
  readonly id: bigint
  readonly file: LiveFile
}

const byId: Ordering<ParquetEntry> = {
  compare: (a, b) => (a.id < b.id ? -1 : a.id > b.id ? 1 : 0),
  hash: ({ file }) => hashOf(file.path),
}

/** The live snapshot's Parquet files, byte for byte. */
export const parquetFiles: ViewDefinition['node'] = ({ table, owner, refresh, latest }, { cookie }) => {
  const files = new ParquetFiles({ store: table.store, owner, refresh, latest })
  const has = (name: string): boolean => files.byName(name) !== undefined
  return {
    kind: 'file',
    cookie,
    reserves: has,
    hides: has,
    lookup: async name => {
      if (!name.endsWith(SUFFIX)) return undefined
      await refresh()
      const entry = files.byName(name)
      return entry && files.file(entry.id)
    },
    list: async (after, limit) => {
      await refresh()
      return files.list(after, limit)
    },
    find: ({ id }) => files.file(id),
  } satisfies View
}

interface ParquetFilesOptions {
  readonly store: Table['store']
  readonly owner: Owner
  /** See ViewContext. */
  readonly refresh: () => Promise<Snapshot>
  readonly latest: () => Snapshot | undefined
}

class ParquetFiles {
  readonly #options: ParquetFilesOptions
  /** By id; made when somebody lists the files, or comes with the handle of one. */
  #entries: { readonly of: LiveFiles; readonly byId: Ordered<ParquetEntry> } | undefined
  readonly #former = new Map<bigint, ParquetEntry>()

  constructor(options: ParquetFilesOptions) {
    this.#options = options
  }

  get #live(): LiveFiles | undefined {
    return this.#options.latest()?.live
  }

  /** At most `limit` entries whose ids are above `after`, in the order of their ids, which are their READDIR cookies. */
  list(after: bigint, limit: number): NodeEntry[] {
    const found: NodeEntry[] = []
    for (const entry of this.#index().from(({ id }) => (id <= after ? 1 : -1))) {
      if (found.length >= limit) break
      const { id, name } = entry
      found.push({ id, name, cookie: id, attributes: this.#attributes(entry) })
    }
    return found
  }

  byName(name: string): ParquetEntry | undefined {
    for (const path of pathsOf(name)) {
      const file = this.#live?.get(path)
      if (file !== undefined && entryOf(file).name === name) return entryOf(file)
    }
    const id = idIn(name)
    const entry = id === undefined ? undefined : this.#find(id)
    return entry?.name === name ? entry : undefined
  }

  #find(id: bigint): ParquetEntry | undefined {
    return this.#index().find(entry => (id < entry.id ? -1 : id > entry.id ? 1 : 0))
  }

  /** The entries of the files that are live now: those of the version before, but for what changed. */
  #index(): Ordered<ParquetEntry> {
    const live = this.#live
    if (live === undefined) return Ordered.of(byId)
    if (this.#entries?.of === live) return this.#entries.byId
    const entries =
      this.#entries === undefined
        ? Ordered.of(byId, live.toArray().map(entryOf))
        : this.#changed(this.#entries.byId, live.changesSince(this.#entries.of))
    this.#entries = { of: live, byId: entries }
    return entries
  }

  #changed(entries: Ordered<ParquetEntry>, changes: readonly Difference<LiveFile>[]): Ordered<ParquetEntry> {
    let changed = entries
    for (const { before } of changes) {
      if (before === undefined) continue
      const entry = entryOf(before)
      changed = changed.without(entry)
      this.#former.set(entry.id, entry)
    }
    for (const { after } of changes) {
      if (after === undefined) continue
      const entry = entryOf(after)
      changed = changed.with(entry)
      this.#former.delete(entry.id)
    }
    for (const id of this.#former.keys()) {
      if (this.#former.size <= FORMER_KEPT) break
      this.#former.delete(id)
    }
    return changed
  }

  /** A file by its id, also one that left the table since. */
  file(id: bigint): FileNode | undefined {
    if (id < FIRST_PARQUET_ID) return undefined
    const known = this.#known(id)
    return {
      kind: 'file',
      isReported: true,
      id,
      name: known?.name ?? `${id.toString(36)}${SUFFIX}`,
      writable: false,
      attributes: async () => this.#attributes(known ?? (await this.#looked(id))),
      read: (offset, count) => this.#bytes(known, id, offset, count),
    }
  }

  #known(id: bigint): ParquetEntry | undefined {
    return this.#find(id) ?? this.#former.get(id)
  }

  /** A handle from before a restart: nobody may have looked at the table since. */
  async #looked(id: bigint): Promise<ParquetEntry> {
    await this.#options.refresh()
    const entry = this.#known(id)
    if (entry === undefined) throw new FsError('ESTALE', `the Parquet file with the id ${id} has left the table`)
    return entry
  }

  #attributes({ id, file }: ParquetEntry): Attributes {
    const mtime = BigInt(file.modificationTime) * 1_000_000n
    return viewAttributes(this.#options.owner, { id, size: file.sizeBytes, mtime, mode: MODE.readOnly })
  }

  async #bytes(known: ParquetEntry | undefined, id: bigint, offset: bigint, count: number): Promise<ReadResult> {
    const entry = known ?? (await this.#looked(id))
    const { file } = entry
    const text = { size: file.sizeBytes, read: (start: number, end: number) => this.#read(file, start, end) }
    return { ...(await readText(text, offset, count)), attributes: this.#attributes(entry) }
  }

  async #read({ path, sizeBytes }: LiveFile, start: number, end: number): ReturnType<Text['read']> {
    const { store } = this.#options
    const bytes = await store.read(path, start, end)
    if (bytes.length === end - start) return bytes
    throw new FsError('EIO', `${store.location}/${path} has fewer than the ${sizeBytes} bytes that the log says`)
  }
}

function entryOf(file: LiveFile): ParquetEntry {
  const id = idOf(file.path)
  return { name: nameOf(file.path, id), id, file }
}

function idOf(path: string): bigint {
  return FIRST_PARQUET_ID | (BigInt.asUintN(64, BigInt(Bun.hash.wyhash(path))) & (FIRST_PARQUET_ID - 1n))
}

const SUFFIX = '.parquet'

/** Files in folders (partitions) get a name in one piece. */
function nameOf(path: string, id: bigint): string {
  const flat = path.replaceAll('%', '%25').replaceAll('/', '%2F')
  const name = flat.endsWith(SUFFIX) ? flat : `${flat}${SUFFIX}`
  return Buffer.byteLength(name) <= NAME_BYTES_MAX ? name : `${id.toString(36)}${SUFFIX}`
}

/** The paths that a name may stand for. */
function pathsOf(name: string): string[] {
  if (!name.endsWith(SUFFIX)) return []
  return [name, name.slice(0, -SUFFIX.length)].map(flat => flat.replaceAll('%2F', '/').replaceAll('%25', '%'))
}

/** The id that stands in the place of a name that would be too long. */
function idIn(name: string): bigint | undefined {
  const digits = /^([0-9a-z]{1,13})\.parquet$/.exec(name)?.[1]
  if (digits === undefined) return undefined
  return [...digits].reduce((id, digit) => id * 36n + BigInt(Number.parseInt(digit, 36)), 0n)
}
