import { BoundedMap } from '../../core/bounded-map.ts'
import { messageOf } from '../../core/errors.ts'
import { discarded } from '../../core/garbage.ts'
import { laterTime, MODE, type Owner, viewAttributes } from '../attributes.ts'
import {
  type Attributes,
  type Caller,
  type Change,
  type Client,
  FsError,
  type Node,
  type ReadResult,
  type Stability,
  type TimeNs,
  type WriteResult,
} from '../filesystem.ts'
import { bytesText, type Text } from '../text/text.ts'
import type { FileNode } from '../tree/node.ts'
import type { ViewDefinition } from './context.ts'
import { codeOf } from './run-sql.ts'
import { StagedQuery } from './staged-query.ts'
import { named, offsetIn, readText } from './view.ts'

/** So many clients have a `.query` of their own at a time; whoever did not use it for longest loses it first. */
const FILES_MAX = 256
const EMPTY = bytesText(new Uint8Array(0))
/** Ids of `.query`'s files are told from all others, also those that an earlier server gave out. */
const ID_TAG = 1n << 60n

/** `.query`: SQL that is written is run, and its result read. */
export const queryView: ViewDefinition['node'] = (context, entry) => {
  const { owner, now, scratch, runSql, askers, tables, onRoot } = context
  const view = new QueryView({
    owner,
    now,
    nextId: () => scratch.nextId(),
    onRefused: onRoot,
    run: async (sql, { caller, readOnly }) => {
      const asked = askers.watch(caller)
      try {
        await tables.settled()
        return await runSql(sql, { signal: asked.signal, call: caller.call?.name, readOnly })
      } finally {
        asked.end()
      }
    },
  })
  return named(entry, {
    kind: 'file',
    find: node => view.file(node),
    open: ({ caller }) => view.of(caller),
    remove: async ({ caller }) => {
      view.of(caller).clear()
      return {}
    },
  })
}

export interface QueryViewOptions {
  /** As RunSql; for who asks, with the rights of the export that the call came through. */
  readonly run: (sql: string, client: Client) => Promise<Text>
  readonly owner: Owner
  /** Nanoseconds since the epoch. */
  readonly now: () => TimeNs
  readonly nextId: () => bigint
  /** A query failed, and the name has a new id. */
  readonly onRefused: () => void
}

/** An answer as it is shown. */
interface Answer {
  readonly text: Text
  readonly mtime: TimeNs
  /** Queries are counted in the order in which they were asked: an older one that takes longer is not the last. */
  readonly number: number
}

/**
 * The name `.query`: what is written is run as SQL when its save ends, what is read is the result as CSV. Each client of
 * each user has a file of its own behind the name, so that nobody gets another's answer: a client that asked nothing yet
 * is shown what its user was answered last. What NFS tells of a caller is its user and its connection. Programs of one
 * user in one mount share both, and thus one file.
 */
export class QueryView {
  readonly name = '.query'
  readonly #options: QueryViewOptions
  /** By user and connection. In the order of their last use; several connections can be of one client. */
  readonly #files = new Map<string, QueryFile>()
  readonly #lastOf = new BoundedMap<number | undefined, Answer>(FILES_MAX)
  readonly #none: Answer
  /** Smaller ones are of an earlier server. */
  readonly #firstId: bigint
  #asked = 0

  constructor(options: QueryViewOptions) {
    this.#options = { ...options, nextId: () => ID_TAG | options.nextId() }
    this.#firstId = this.#options.nextId()
    this.#none = { text: EMPTY, mtime: options.now(), number: 0 }
  }

  /** Returns the file that the name leads to for a caller. */
  of(caller: Caller): QueryFile {
    const known = this.#files.get(keyOf(caller))
    return this.#use(caller, known ?? this.#newQueryFile(caller.uid, this.#options.nextId()))
  }

  /**
   * Returns the file of a handle; undefined if it is none of `.query`'s. Where names are looked up for each open (frozen), a
   * handle comes from who looked it up, or from who inherited the open file. A client that keeps names would give one
   * user's file to the next: so there it is unknown to others, and the client looks the name up again.
   */
  file({ id, frozen, caller }: Node): QueryFile | undefined {
    if (id < ID_TAG) return undefined
    for (const file of this.#files.values()) {
      if (file.id !== id) continue
      if (file.uid !== caller.uid) return frozen ? file : undefined
      // Handles do not travel between clients: this is a further connection of the same one.
      return this.#use(caller, file)
    }
    // A client repeats what it had written when the server ended. What that had answered before is lost.
    const isOld = id < this.#firstId
    return isOld ? this.#use(caller, this.#newQueryFile(caller.uid, id, true)) : undefined
  }

  #newQueryFile(uid: number | undefined, id: bigint, isLost = false): QueryFile {
    return new QueryFile(uid, id, {
      ...this.#options,
      isLost,
      number: () => ++this.#asked,
      lastOfUser: () => this.#lastOf.get(uid) ?? this.#none,
      onAnswer: answer => {
        if (answer.number >= (this.#lastOf.get(uid) ?? this.#none).number) this.#lastOf.set(uid, answer)
      },
    })
  }

  #use(caller: Caller, file: QueryFile): QueryFile {
    const key = keyOf(caller)
    this.#files.delete(key)
    this.#files.set(key, file)
    for (const oldest of this.#files.keys()) {
      if (this.#files.size <= FILES_MAX) break
      this.#files.delete(oldest)
    }
    return file
  }
}

function keyOf({ uid, connection }: Caller): string {
  return `${uid}/${connection}`
}

interface QueryFileOptions extends QueryViewOptions {
  /** It was another server's, and cannot be read until something was written. */
  readonly isLost: boolean
  readonly number: () => number
  readonly lastOfUser: () => Answer
  readonly onAnswer: (answer: Answer) => void
}

/** One client's `.query`. A failed query fails the write, and reading gives the sentence. */
export class QueryFile implements FileNode {
  readonly kind = 'file'
  readonly name = '.query'
  /** SQL that changes nothing is for everybody: the statement is bound by the export, not the file. */
  readonly isAlwaysWritable = true
  readonly isReported = true
  readonly writable = true
  readonly uid: number | undefined
  readonly #options: QueryFileOptions
  #id: bigint
  #own: Answer | undefined
  /** The SQL of the save under way; undefined: none is. */
  #pending: StagedQuery | undefined
  #pendingMtime: TimeNs = 0n
  #isLost: boolean
  /** Writes take effect in the order of their arrival. */
  #staging: Promise<unknown> = Promise.resolve()

  constructor(uid: number | undefined, id: bigint, options: QueryFileOptions) {
    this.uid = uid
    this.#options = options
    this.#id = id
    this.#isLost = options.isLost
  }

  /** A new one after a query that failed: an error sticks to the client's inode. */
  get id(): bigint {
    return this.#id
  }

  async attributes(): Promise<Attributes> {
    return this.#attributesOf(this.#image())
  }

  async read(offset: bigint, count: number): Promise<ReadResult> {
    const image = this.#image()
    const attributes = this.#attributesOf(image)
    return { ...(await readText(image.text, offset, count)), attributes }
  }

  async truncate(size: bigint, before: Attributes): Promise<Change> {
    await this.#stage(staged => staged.resized(offsetIn(this.name, size)))
    return { before, after: await this.attributes() }
  }

  /** Stages written bytes. Written behind the result that is shown, they are a query of their own. */
  async write(offset: bigint, bytes: Uint8Array, stability: Stability, client: Client): Promise<WriteResult> {
    const at = offsetIn(this.name, offset)
    this.#isLost = false
    const before = await this.attributes()
    await this.#stage(staged => staged.written(at, bytes))
    const count = bytes.length
    if (stability === 'unstable') {
      return { count, committed: stability, change: { before, after: await this.attributes() } }
    }
    return { count, committed: 'file_sync', change: await this.commit(client) }
  }

  /** Ends the save: runs what was written. Without attributes the client reads the result anew. */
  async commit(client: Client): Promise<Change> {
    try {
      await this.#finish(client)
    } catch (error) {
      if (error instanceof FsError && error.code === 'EJUKEBOX') throw error
      this.#id = this.#options.nextId()
      this.#options.onRefused()
      throw error
    }
    return {}
  }

  /** `rm`: nothing is shown any more. */
  clear(): void {
    this.#pending = undefined
    this.#answer(EMPTY, this.#options.number())
  }

  #shown(): Answer {
    return this.#own ?? this.#options.lastOfUser()
  }

  /** Returns the text and the mtime that READ and GETATTR tell. */
  #image(): Pick<Answer, 'text' | 'mtime'> {
    if (this.#isLost) throw new FsError('ESTALE', 'what this query was answered ended with the server that answered it')
    return this.#pending === undefined ? this.#shown() : { text: this.#pending.text, mtime: this.#pendingMtime }
  }

  #attributesOf({ text: { size }, mtime }: Pick<Answer, 'text' | 'mtime'>): Attributes {
    return viewAttributes(this.#options.owner, { id: this.#id, size, mtime, mode: MODE.file })
  }

  #stage(change: (staged: StagedQuery) => Promise<StagedQuery>): Promise<void> {
    const staging = this.#staging.then(async () => {
      this.#pending = await change(this.#pending ?? StagedQuery.over(this.#shown().text))
      this.#pendingMtime = this.#nextMtime()
    })
    this.#staging = staging.catch(() => undefined)
    return staging
  }

  #nextMtime(): TimeNs {
    const { now, lastOfUser } = this.#options
    return [this.#shown().mtime, lastOfUser().mtime, this.#pendingMtime].reduce(
      (time, than) => laterTime(time, than),
      now(),
    )
  }

  #answer(text: Text, number: number): void {
    if (number < (this.#own?.number ?? 0)) return
    // Its place on the disk is free when it is collected.
    discarded(this.#own?.text.size ?? 0)
    this.#own = { text, mtime: this.#nextMtime(), number }
    this.#options.onAnswer(this.#own)
  }

  /** Rejects with FsError: EINVAL if the engine refuses what was written. */
  async #finish(client: Client): Promise<void> {
    const pending = this.#pending
    if (pending === undefined) return
    const number = this.#options.number()
    const sql = await pending.sql()
    if (this.#pending === pending) this.#pending = undefined
    if (sql.trim() === '') return this.#answer(EMPTY, number)
    try {
      this.#answer(await this.#options.run(sql, client), number)
    } catch (error) {
      const sentence = messageOf(error)
      const code = codeOf(error)
      // The client writes the same bytes again, over the same ones.
      if (code === 'EJUKEBOX') this.#pending ??= pending
      else this.#answer(bytesText(new TextEncoder().encode(`${sentence.trimEnd()}\n`)), number)
      throw new FsError(code, sentence, { cause: error })
    }
  }
}
