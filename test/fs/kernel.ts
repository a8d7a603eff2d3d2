import { type Fattr, type Handle, type NfsClient, NfsClientError } from '../nfs/client.ts'

const PAGE = 4096

export const idsIn = (text: string): number[] => [...text.matchAll(/^(\d+),/gm)].map(([, id]) => Number(id))

/** A call to the server, whose reply may be long in coming; it is sent again if the server dies before that. */
export type Rpc = <T>(call: () => Promise<T>) => Promise<T>

/** The connection of a machine, which is another one after the server has died. */
export interface Wire {
  client: NfsClient
}

interface Page {
  readonly bytes: Uint8Array
  /** All of it up to the file's end is known. */
  uptodate: boolean
  dirty: { start: number; end: number } | undefined
  writeback: Promise<void> | undefined
}

export type FileName = 'data.csv' | 'data.jsonl'

/** What Linux keeps of a file: see fs/nfs/inode.c, file.c and write.c of Linux 6.1 for what happens to it. */
class Inode {
  readonly handle: Handle
  size = 0
  ctime = -1n
  /** Counts the calls: attributes of one that began before others were taken are older, unless their ctime says otherwise. */
  generation = 0
  readonly pages = new Map<number, Page>()
  writers = 0
  hasInvalidData = false
  isInvalidLater = false
  hasInvalidAttributes = true
  /** errseq_t of the mapping: every close(2) reports it from then on, whoever wrote what was refused, until an fsync(2). */
  hasFailed = false
  /** i_rwsem: a write(2) waits for the read(2)s under way, and the other way round. */
  lock: Promise<void> = Promise.resolve()

  constructor(handle: Handle) {
    this.handle = handle
  }

  get hasWritebacks(): boolean {
    return [...this.pages.values()].some(({ dirty, writeback }) => dirty !== undefined || writeback !== undefined)
  }

  lengthOf(page: number): number {
    return Math.max(0, Math.min(PAGE, this.size - page * PAGE))
  }
}

function ctimeOf({ ctime }: { readonly ctime: Fattr['ctime'] }): bigint {
  return BigInt(ctime.seconds) * 1_000_000_000n + BigInt(ctime.nseconds)
}

/** A model of the Linux NFS client with a page cache of its own, and of the programs that use it. */
export class Kernel {
  readonly #wire: Wire
  readonly #data: Handle
  readonly #rpc: Rpc
  readonly #inodes = new Map<string, Inode>()
  #generation = 0
  #temps = 0
  readonly #name: string

  constructor(name: string, wire: Wire, data: Handle, rpc: Rpc) {
    this.#name = name
    this.#wire = wire
    this.#data = data
    this.#rpc = rpc
  }

  get #client(): NfsClient {
    return this.#wire.client
  }

  /** `cat data.csv` */
  async cat(): Promise<string> {
    return this.#readAll(await this.#open())
  }

  /** `stat data.csv` */
  async stat(): Promise<void> {
    await this.#getattr(await this.#open())
  }

  /** `echo ... >> data.csv`; true if close(2) succeeded. `slowly`: something happens between its write(2) and its close(2). */
  async append(row: string, slowly?: () => Promise<void>): Promise<boolean> {
    const inode = await this.#open()
    if (inode.writers === 0 && inode.isInvalidLater) this.#invalidate(inode)
    inode.writers++
    for (const id of idsIn(row)) {
      this.pending.add(id)
      for (const note of this.#watchers) note(id)
    }
    try {
      await this.#write(inode, new TextEncoder().encode(row))
      await slowly?.()
      return await this.#flush(inode)
    } finally {
      inode.writers--
      for (const id of idsIn(row)) this.pending.delete(id)
    }
  }

  /** Rows (ids) that its programs have begun to append and not closed. */
  readonly pending = new Set<number>()
  readonly #watchers = new Set<(id: number) => unknown>()

  /** `sed -i`; true if its rename succeeded. `change` gets what it read, and which rows were not closed when it began. */
  async sed(
    change: (text: string, pending: ReadonlySet<number>) => string,
    file: FileName = 'data.csv',
  ): Promise<boolean> {
    const pending = new Set(this.pending)
    const note = (id: number): unknown => pending.add(id)
    this.#watchers.add(note)
    const inode = await this.#open(file)
    const temp = `sed${this.#name}${this.#temps++}`
    const { handle } = await this.#rpc(() => this.#client.create(this.#data, temp))
    const read = await this.#readAll(inode)
    this.#watchers.delete(note)
    const text = change(read, pending)
    await this.#rpc(() => this.#client.write(handle, 0n, text))
    const fresh = this.#inodeOf(handle)
    this.#cache(fresh, 0, new TextEncoder().encode(text))
    fresh.size = text.length
    const isDone = await this.#patiently(async () => {
      await this.#client.rename(this.#data, temp, this.#data, file)
      return true
    })
    if (isDone !== true) await this.#patiently(() => this.#client.remove(this.#data, temp))
    return isDone === true
  }

  // --- attributes --------------------------------------------------------------------------------------------------

  async #open(file: FileName = 'data.csv'): Promise<Inode> {
    const { handle, attributes, began } = await this.#began(() => this.#client.lookup(this.#data, file))
    const inode = this.#inodeOf(handle)
    if (attributes !== undefined) this.#take(inode, attributes, began)
    return inode
  }

  async #getattr(inode: Inode): Promise<void> {
    const { attributes, began } = await this.#began(async () => ({
      attributes: await this.#client.getattr(inode.handle),
    }))
    this.#take(inode, attributes, began)
  }

  async #began<T extends object>(call: () => Promise<T>): Promise<T & { began: number }> {
    const began = ++this.#generation
    return { ...(await this.#rpc(call)), began }
  }

  #inodeOf(handle: Handle): Inode {
    const key = Buffer.from(handle).toString('hex')
    const inode = this.#inodes.get(key) ?? new Inode(handle)
    this.#inodes.set(key, inode)
    return inode
  }

  /** nfs_update_inode */
  #take(inode: Inode, attributes: Fattr, began: number, size: number | undefined = Number(attributes.size)): void {
    const ctime = ctimeOf(attributes)
    if (began <= inode.generation && ctime <= inode.ctime) return
    inode.hasInvalidAttributes = false
    if (size !== undefined && size !== inode.size && (!inode.hasWritebacks || size > inode.size)) {
      inode.size = size
      if (inode.writers === 0) this.#invalidate(inode)
    }
    if (ctime !== inode.ctime) {
      if (inode.writers === 0) this.#invalidate(inode)
      else inode.isInvalidLater = true
      inode.ctime = ctime
    }
    inode.generation = ++this.#generation
  }

  #invalidate(inode: Inode): void {
    if (inode.pages.size > 0) inode.hasInvalidData = true
    inode.isInvalidLater = false
  }

  // --- pages -------------------------------------------------------------------------------------------------------

  /** nfs_clear_invalid_mapping */
  async #revalidate(inode: Inode): Promise<void> {
    while (inode.hasInvalidAttributes) await this.#getattr(inode)
    while (inode.hasInvalidData) {
      await this.#flush(inode)
      if (inode.hasWritebacks) continue
      inode.hasInvalidData = false
      inode.pages.clear()
    }
  }

  async #locked<T>(inode: Inode, run: () => Promise<T>): Promise<T> {
    const before = inode.lock
    const { promise, resolve } = Promise.withResolvers<void>()
    inode.lock = promise
    await before
    try {
      return await run()
    } finally {
      resolve()
    }
  }

  #readAll(inode: Inode): Promise<string> {
    return this.#locked(inode, () => this.#readPages(inode))
  }

  async #readPages(inode: Inode): Promise<string> {
    await this.#revalidate(inode)
    const parts: Uint8Array[] = []
    for (let page = 0; page * PAGE < inode.size; page++) {
      while (inode.pages.get(page)?.uptodate !== true) await this.#readPage(inode, page)
      parts.push(inode.pages.get(page)!.bytes.slice(0, inode.lengthOf(page)))
    }
    return new TextDecoder().decode(Buffer.concat(parts))
  }

  async #readPage(inode: Inode, page: number): Promise<void> {
    const there = inode.pages.get(page)
    if (there !== undefined) {
      await there.writeback
      if (there.dirty !== undefined) await this.#flush(inode)
    }
    const offset = BigInt(page * PAGE)
    const { data, file_attributes, began } = await this.#began(() => this.#client.read(inode.handle, offset, PAGE))
    const now = inode.pages.get(page)
    if (now?.dirty === undefined && now?.writeback === undefined) this.#cache(inode, page, data)
    if (file_attributes !== undefined) this.#take(inode, file_attributes, began)
  }

  #cache(inode: Inode, page: number, data: Uint8Array): void {
    for (let start = 0; start === 0 || start < data.length; start += PAGE) {
      const bytes = new Uint8Array(PAGE)
      bytes.set(data.subarray(start, start + PAGE))
      inode.pages.set(page + start / PAGE, { bytes, uptodate: true, dirty: undefined, writeback: undefined })
    }
  }

  /** nfs_file_write with O_APPEND, nfs_write_end, nfs_updatepage */
  async #write(inode: Inode, bytes: Uint8Array): Promise<void> {
    await this.#revalidate(inode)
    await this.#locked(inode, () => this.#writePages(inode, bytes))
  }

  async #writePages(inode: Inode, bytes: Uint8Array): Promise<void> {
    const pos = inode.size
    for (let done = 0; done < bytes.length; ) {
      const number = Math.floor((pos + done) / PAGE)
      const start = (pos + done) % PAGE
      const count = Math.min(PAGE - start, bytes.length - done)
      const page = this.#pageToWrite(inode, number, start, start + count)
      if (page instanceof Promise) {
        await page
        continue
      }
      const length = inode.lengthOf(number)
      page.bytes.set(bytes.subarray(done, done + count), start)
      if (!page.uptodate && (length === 0 || (start === 0 && start + count >= length))) page.uptodate = true
      const isWhole = page.uptodate && !(inode.hasInvalidData && length > 0) && !inode.hasInvalidAttributes
      const range = isWhole ? { start: 0, end: Math.max(start + count, length) } : { start, end: start + count }
      page.dirty = {
        start: Math.min(range.start, page.dirty?.start ?? range.start),
        end: Math.max(range.end, page.dirty?.end ?? range.end),
      }
      done += count
      inode.size = Math.max(inode.size, pos + done)
    }
  }

  /** A page that bytes can be put into at once; else what is to be waited for before that (nfs_lock_and_join_requests). */
  #pageToWrite(inode: Inode, number: number, start: number, end: number): Page | Promise<unknown> {
    const page = inode.pages.get(number)
    if (page === undefined) {
      const made = { bytes: new Uint8Array(PAGE), uptodate: false, dirty: undefined, writeback: undefined }
      inode.pages.set(number, made)
      return made
    }
    if (page.writeback !== undefined) return page.writeback
    const { dirty } = page
    // A request that does not join the one that waits is sent behind it.
    return dirty === undefined || (start <= dirty.end && end >= dirty.start) ? page : this.#flush(inode)
  }

  /** One WRITE is stable, several are not and need a COMMIT. False if one failed. */
  async #flush(inode: Inode): Promise<boolean> {
    const ranges: { start: number; end: number; pages: Page[] }[] = []
    for (const [number, page] of [...inode.pages].toSorted(([left], [right]) => left - right)) {
      if (page.dirty === undefined || page.writeback !== undefined) continue
      const start = number * PAGE + page.dirty.start
      const end = number * PAGE + page.dirty.end
      const last = ranges.at(-1)
      if (last?.end === start) {
        last.end = end
        last.pages.push(page)
      } else ranges.push({ start, end, pages: [page] })
    }
    const before = [...inode.pages.values()].map(({ writeback }) => writeback)
    const stable = ranges.length === 1 ? 'FILE_SYNC' : 'UNSTABLE'
    const sent = await Promise.all(ranges.map(range => this.#send(inode, range, stable)))
    if (ranges.length > 1 && sent.every(Boolean)) {
      const isCommitted = await this.#patiently(() => this.#client.commit(inode.handle))
      inode.hasInvalidAttributes = true
      if (isCommitted === undefined) inode.hasFailed = true
    }
    await Promise.all(before)
    return !inode.hasFailed
  }

  async #send(
    inode: Inode,
    { start, end, pages }: { start: number; end: number; pages: Page[] },
    stable: 'FILE_SYNC' | 'UNSTABLE',
  ): Promise<boolean> {
    const first = Math.floor(start / PAGE) * PAGE
    const bytes = Buffer.concat(pages.map(page => page.bytes)).subarray(start - first, end - first)
    const data = Uint8Array.from(bytes)
    const { promise, resolve } = Promise.withResolvers<void>()
    for (const page of pages) {
      page.dirty = undefined
      page.writeback = promise
    }
    const began = ++this.#generation
    const written = await this.#patiently(() => this.#client.write(inode.handle, BigInt(start), data, stable))
    for (const page of pages) page.writeback = undefined
    resolve()
    if (written === undefined) {
      inode.hasFailed = true
      inode.hasInvalidAttributes = true
      inode.hasInvalidData = true
      return false
    }
    const { before, after } = written.file_wcc
    if (after === undefined) {
      inode.hasInvalidAttributes = true
      return true
    }
    // The change counts as its own.
    if (before !== undefined && ctimeOf(before) === inode.ctime) inode.ctime = ctimeOf(after)
    const size = Number(after.size)
    // nfs_writeback_check_extend: behind a WRITE up to the file's end, what other calls under way have to tell is old.
    const asOf = size === end ? ++this.#generation : began
    this.#take(inode, after, asOf, size < inode.size ? undefined : size)
    return true
  }

  /** Asks again after JUKEBOX; undefined if the call failed. */
  async #patiently<T>(call: () => Promise<T>): Promise<T | undefined> {
    for (;;) {
      try {
        return await this.#rpc(call)
      } catch (error) {
        if (!(error instanceof NfsClientError)) throw error
        if (error.code !== 'EJUKEBOX') return undefined
      }
    }
  }
}
