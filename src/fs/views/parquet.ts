import type { LiveFile, Snapshot } from '../../table/snapshot.ts'
import type { Table } from '../../table/table.ts'
import { MODE, type Owner, viewAttributes } from '../attributes.ts'
import { FsError } from '../filesystem.ts'
import type { Text } from '../text/text.ts'
import { readText, type ViewFile } from './view.ts'

/** Far from all other ids; the rest of the id is a hash of the path, so that it is the same after a restart. */
const FIRST_ID = 1n << 62n
const NAME_BYTES_MAX = 255
/** Files that are gone from the table are still served to those who had them open, as long as they are on disk. */
const FORMER_KEPT = 1000

/** A data file as `data/` lists it. */
export interface ParquetEntry {
  readonly name: string
  readonly id: bigint
  readonly file: LiveFile
}

/** The live snapshot's Parquet files, byte for byte. */
export class ParquetFiles {
  readonly #store: Table['store']
  readonly #owner: Owner
  #files: readonly LiveFile[] | undefined
  #byName = new Map<string, ParquetEntry>()
  #byId = new Map<bigint, ParquetEntry>()
  readonly #former = new Map<bigint, ParquetEntry>()

  constructor(store: Table['store'], owner: Owner) {
    this.#store = store
    this.#owner = owner
  }

  /** Makes the list that of a snapshot. */
  update({ files }: Snapshot): void {
    if (files === this.#files) return
    const before = this.#byId
    this.#files = files
    this.#byName = new Map()
    this.#byId = new Map()
    for (const file of files) {
      const id = idOf(file.path)
      const entry = { name: nameOf(file.path, id), id, file }
      this.#byName.set(entry.name, entry)
      this.#byId.set(id, entry)
      this.#former.delete(id)
    }
    for (const [id, entry] of before) if (!this.#byId.has(id)) this.#former.set(id, entry)
    for (const id of this.#former.keys()) {
      if (this.#former.size <= FORMER_KEPT) break
      this.#former.delete(id)
    }
  }

  /** In the order of their ids, which are their READDIR cookies. */
  list(): ParquetEntry[] {
    return [...this.#byId.values()].sort((a, b) => (a.id < b.id ? -1 : 1))
  }

  byName(name: string): ParquetEntry | undefined {
    return this.#byName.get(name)
  }

  /** A file by its id, also one that left the table since. */
  file(id: bigint): ViewFile | undefined {
    const entry = this.#byId.get(id) ?? this.#former.get(id)
    if (entry === undefined) return undefined
    const { name, file } = entry
    const mtime = BigInt(file.modificationTime) * 1_000_000n
    const attributes = viewAttributes(this.#owner, { id, size: file.sizeBytes, mtime, mode: MODE.readOnly })
    const text = { size: file.sizeBytes, read: (start: number, end: number) => this.#read(file, start, end) }
    return {
      id,
      name,
      writable: false,
      attributes: async () => attributes,
      read: async (offset, count) => ({ ...(await readText(text, offset, count)), attributes }),
    }
  }

  async #read({ path, sizeBytes }: LiveFile, start: number, end: number): ReturnType<Text['read']> {
    const bytes = await this.#store.read(path, start, end)
    if (bytes.length === end - start) return bytes
    throw new FsError('EIO', `${this.#store.location}/${path} has fewer than the ${sizeBytes} bytes that the log says`)
  }
}

function idOf(path: string): bigint {
  return FIRST_ID | (BigInt.asUintN(64, BigInt(Bun.hash.wyhash(path))) & (FIRST_ID - 1n))
}

/** Files in folders (partitions) get a name in one piece. */
function nameOf(path: string, id: bigint): string {
  const flat = path.replaceAll('%', '%25').replaceAll('/', '%2F')
  const name = flat.endsWith('.parquet') ? flat : `${flat}.parquet`
  return Buffer.byteLength(name) <= NAME_BYTES_MAX ? name : `${id.toString(36)}.parquet`
}
