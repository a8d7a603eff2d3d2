import { type Fattr, type Handle, type NfsClient, NfsClientError } from '../nfs/client.ts'

const PAGE = 4096

export type WccData = Awaited<ReturnType<NfsClient['write']>>['file_wcc']
type WccAttributes = NonNullable<WccData['before']>

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
  /**
   * attr_gencount counts the calls: attributes of one that began before others were taken are not taken, whatever their ctime
   * (nfs_inode_attrs_cmp: with version 3, change_attr_type is NFS4_CHANGE_TYPE_IS_UNDEFINED).
   */
  generation = 0
  readonly pages = new Map<number, Page>()
  /** The programs that have it open, and those that have it open for writing. */
  opens = 0
  writers = 0
  /** NFS_INO_INVALID_DATA */
  hasInvalidData = false
  /** NFS_INO_DATA_INVAL_DEFER: until nobody has it open any more. */
  isInvalidLater = false
  /** NFS_INO_INVALID_CHANGE: they are asked for before a read(2). */
  hasInvalidAttributes = true
  /** NFS_INO_INVALID_SIZE: it is asked for before a write(2) with O_APPEND. */
  hasInvalidSize = true
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
    const inode = await this.#open()
    try {
      return await this.#readAll(inode)
    } finally {
      inode.opens--
    }
  }

  /** `stat data.csv` */
  async stat(): Promise<void> {
    const inode = await this.#looked('data.csv')
    // nfs_getattr: what is dirty moves the times.
    await this.#flush(inode)
    await this.#getattr(inode)
  }

  /** `echo ... >> data.csv`; true if close(2) succeeded. `slowly`: something happens between its write(2) and its close(2). */
  async append(row: string, slowly?: () => Promise<void>): Promise<boolean> {
    const inode = await this.#open()
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
      inode.opens--
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
    inode.opens--
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
    const inode = await this.#looked(file)
    // nfs_inode_attach_open_context
    if (inode.opens++ === 0 && inode.isInvalidLater) this.#invalidate(inode)
    return inode
  }

  async #looked(file: FileName): Promise<Inode> {
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

  /** nfs_refresh_inode; `before`: of a call that changes the file. */
  #take(
    inode: Inode,
    attributes: Fattr,
    began: number,
    { size = Number(attributes.size), before }: { size?: number | 'not told'; before?: WccAttributes | undefined } = {},
  ): void {
    const ctime = ctimeOf(attributes)
    if (began > inode.generation) this.#update(inode, { ctime, size, before }, began)
    else if (inode.writers === 0) {
      // nfs_check_inode_attributes: nobody knows which are newer.
      if (ctime !== inode.ctime) inode.hasInvalidAttributes = true
      if (size !== 'not told' && size !== inode.size) inode.hasInvalidSize = true
    }
  }

  /** nfs_update_inode */
  #update(
    inode: Inode,
    { ctime, size, before }: { ctime: bigint; size: number | 'not told'; before: WccAttributes | undefined },
    began: number,
  ): void {
    inode.hasInvalidAttributes = false
    inode.generation = Math.max(inode.generation, began)
    // nfs_wcc_update_inode: the change counts as its own.
    if (before !== undefined && ctimeOf(before) === inode.ctime) inode.ctime = ctime
    if (ctime !== inode.ctime) {
      if (inode.writers === 0) {
        this.#invalidate(inode)
        inode.generation = ++this.#generation
      } else inode.isInvalidLater = true
      inode.ctime = ctime
    }
    if (size === 'not told') return
    inode.hasInvalidSize = false
    if (size === inode.size || (inode.hasWritebacks && size < inode.size)) return
    inode.size = size
    if (inode.writers === 0) this.#invalidate(inode)
  }

  #invalidate(inode: Inode): void {
    if (inode.pages.size > 0) inode.hasInvalidData = true
    inode.isInvalidLater = false
  }

  // --- pages -------------------------------------------------------------------------------------------------------

  /** nfs_clear_invalid_mapping */
  async #clearInvalid(inode: Inode): Promise<void> {
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
    // nfs_revalidate_mapping
    if (inode.hasInvalidAttributes) await this.#getattr(inode)
    await this.#clearInvalid(inode)
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
    // nfs_revalidate_file_size
    if (inode.hasInvalidSize) await this.#getattr(inode)
    await this.#clearInvalid(inode)
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
      const isWhole =
        page.uptodate && !(inode.hasInvalidData && length > 0) && !inode.hasInvalidAttributes && !inode.hasInvalidSize
      const range = isWhole ? { start: 0, end: Math.max(start + count, length) } : { start, end: start + count }
      page.dirty = {
        start: Math.min(range.start, page.dirty?.start ?? range.start),
        end: Math.max(range.end, page.dirty?.end ?? range.end),
      }
      done += count
      if (pos + done > inode.size) {
        // nfs_grow_file
        inode.size = pos + done
        inode.hasInvalidSize = false
      }
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
      const began = ++this.#generation
      const committed = await this.#patiently(() => this.#client.commit(inode.handle))
      if (committed === undefined) inode.hasFailed = true
      else if (committed.file_wcc.after !== undefined)
        this.#take(inode, committed.file_wcc.after, began, { before: committed.file_wcc.before })
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
    if (written === undefined) {
      inode.hasFailed = true
      inode.hasInvalidAttributes = true
      inode.hasInvalidSize = true
      inode.hasInvalidData = true
    } else this.#writtenBack(inode, end, written.file_wcc, began)
    for (const page of pages) page.writeback = undefined
    resolve()
    return written !== undefined
  }

  /** nfs_writeback_update_inode */
  #writtenBack(inode: Inode, end: number, { before, after }: WccData, began: number): void {
    inode.hasInvalidAttributes = true
    // nfs_writeback_check_extend: behind a WRITE up to the file's end, what other calls under way have to tell is old.
    if (after === undefined) {
      if (end >= inode.size) inode.generation = ++this.#generation
      return
    }
    const size = Number(after.size)
    if (size < inode.size) this.#take(inode, after, began, { size: 'not told', before })
    else this.#take(inode, after, size === end ? ++this.#generation : began, { before })
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
