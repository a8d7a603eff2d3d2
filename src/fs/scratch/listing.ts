import { readdir } from 'node:fs/promises'
import type { Clock } from '../../core/clock.ts'
import { firstIndex } from '../../core/search.ts'
import type { Attributes } from '../filesystem.ts'
import type { NodeEntry, NodePage } from '../tree/node.ts'
import { systemError } from './errors.ts'
import { FIRST_ID } from './ids.ts'
import type { NodeRow, Nodes } from './nodes.ts'
import type { FolderEntry, Real, RealTree } from './real-tree.ts'

/** So many folders may be listed at once without being read anew for each page. */
const SCANS_KEPT = 32
/** A scan older than this is not continued, but made again: cookies are ids, so nothing is lost or doubled. */
const SCAN_AGE_MAX_MS = 60_000
/** Unknown files are entered in lots, between which other calls have their turn. */
const LOT = 500

interface Scan {
  readonly madeMs: number
  /** Of the folder, when it was read. */
  readonly mtime: bigint
  /** Ascending. */
  readonly ids: bigint[]
}

/**
 * Lists folders in the order of their ids, which are also the cookies. The real folder is read once, when a listing
 * begins; later pages look only at their own entries.
 */
export class Listings {
  readonly #tree: RealTree
  readonly #nodes: Nodes
  readonly #clock: Clock
  readonly #attributes: (entry: FolderEntry) => Attributes
  readonly #scans = new Map<bigint, Scan>()

  constructor(tree: RealTree, nodes: Nodes, clock: Clock, attributes: (entry: FolderEntry) => Attributes) {
    this.#tree = tree
    this.#nodes = nodes
    this.#clock = clock
    this.#attributes = attributes
  }

  async page(directory: bigint, cookie: bigint, limit: number): Promise<NodePage> {
    const known = cookie < FIRST_ID ? undefined : this.#known(directory)
    const entries: NodeEntry[] = []
    if (known !== undefined) {
      const more = this.#take(known, directory, cookie, limit, entries)
      // At the end of an earlier scan the folder is read again if it changed since: what is new stands at the end.
      if (more || known.mtime === this.#tree.folder(directory).stat.mtimeNs) {
        return { entries, endOfDirectory: !more }
      }
    }
    const scan = await this.#scan(directory)
    const more = this.#take(scan, directory, entries.at(-1)?.cookie ?? cookie, limit, entries)
    if (!more) this.#scans.delete(directory)
    return { entries, endOfDirectory: !more }
  }

  /** Adds entries behind `cookie` until there are `limit`; false if there are no more. */
  #take(scan: Scan, directory: bigint, cookie: bigint, limit: number, entries: NodeEntry[]): boolean {
    const folder = this.#tree.folder(directory)
    let at = firstAfter(scan.ids, cookie)
    for (; at < scan.ids.length && entries.length < limit; at++) {
      const entry = this.#entry(folder, scan, scan.ids[at]!)
      if (entry !== undefined) entries.push(entry)
    }
    return at < scan.ids.length
  }

  /** The entry as it is now: it may have been renamed, removed or replaced since the scan. */
  #entry(folder: Real, scan: Scan, id: bigint): NodeEntry | undefined {
    const row = this.#nodes.get(id)
    if (row === undefined || row.parent !== folder.id) return undefined
    const entry = this.#tree.resolve(folder, row.name, row)
    if (entry === undefined) return undefined
    if (entry.row.id !== id) {
      // Replaced from outside: its new id is the highest of all, so it comes at the end.
      insert(scan.ids, entry.row.id)
      return undefined
    }
    const attributes = this.#attributes(entry)
    return { name: row.name, id, cookie: id, attributes }
  }

  #known(directory: bigint): Scan | undefined {
    const scan = this.#scans.get(directory)
    if (scan === undefined) return undefined
    this.#scans.delete(directory)
    if (this.#clock.nowMs() - scan.madeMs > SCAN_AGE_MAX_MS) return undefined
    this.#scans.set(directory, scan)
    return scan
  }

  async #scan(directory: bigint): Promise<Scan> {
    const { path, stat } = this.#tree.folder(directory)
    const names = await realNames(path)
    const known = this.#nodes.names(directory)
    const unknown: string[] = []
    const ids: bigint[] = []
    for (const name of names) {
      const entry = known.get(name)
      known.delete(name)
      if (this.#tree.isReserved(directory, name)) continue
      if (entry === undefined) unknown.push(name)
      else ids.push(entry.id)
    }
    const references = [...known.values()].filter(entry => entry.kind === 'reference').map(entry => entry.id)
    this.#forgetMissing(
      directory,
      [...known].filter(([, entry]) => entry.kind !== 'reference').map(([name]) => name),
    )
    const entered = await this.#enter(directory, unknown)
    const scan = {
      madeMs: this.#clock.nowMs(),
      mtime: stat.mtimeNs,
      ids: [...ids, ...references, ...entered].sort((a, b) => (a < b ? -1 : 1)),
    }
    this.#scans.set(directory, scan)
    for (const oldest of this.#scans.keys()) {
      if (this.#scans.size <= SCANS_KEPT) break
      this.#scans.delete(oldest)
    }
    return scan
  }

  /** Looking each of them up forgets it, unless it was made since the folder was read. */
  #forgetMissing(directory: bigint, names: readonly string[]): void {
    if (names.length === 0) return
    const folder = this.#tree.folder(directory)
    for (const name of names) this.#tree.find(folder, name)
  }

  /** Gives ids to files that came from outside. */
  async #enter(directory: bigint, names: readonly string[]): Promise<bigint[]> {
    const ids: bigint[] = []
    for (let start = 0; start < names.length; start += LOT) {
      if (start > 0) await new Promise(resolve => setImmediate(resolve))
      // While this waited, a call may have moved the folder, entered a name, or removed a file.
      const folder = this.#tree.folder(directory)
      const rows: NodeRow[] = []
      for (const name of names.slice(start, start + LOT)) {
        if (this.#tree.isReserved(directory, name)) continue
        const row = this.#nodes.find(directory, name)
        const stat = row === undefined ? this.#tree.stat(this.#tree.pathIn(folder, name)) : undefined
        if (row !== undefined) ids.push(row.id)
        else if (stat !== undefined) rows.push(this.#tree.newRow(directory, name, stat))
      }
      if (rows.length > 0) this.#nodes.put(rows)
      for (const row of rows) ids.push(row.id)
    }
    return ids
  }
}

/** The names in a real folder; those that are not UTF-8 have none that could be sent. */
async function realNames(path: string): Promise<string[]> {
  const decoder = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true })
  const names: string[] = []
  try {
    for (const bytes of await readdir(path, { encoding: 'buffer' })) {
      try {
        names.push(decoder.decode(bytes))
      } catch {
        // Not UTF-8: not shown.
      }
    }
  } catch (error) {
    throw systemError(`${path} cannot be listed`, error)
  }
  return names
}

/** The index of the first id beyond `cookie`. */
function firstAfter(ids: readonly bigint[], cookie: bigint): number {
  return firstIndex(ids.length, i => ids[i]! > cookie)
}

function insert(ids: bigint[], id: bigint): void {
  const at = firstAfter(ids, id)
  if (ids[at - 1] !== id) ids.splice(at, 0, id)
}
