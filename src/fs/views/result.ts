import { type TextFormatName, textFormats } from '../../columns/text/formats/index.ts'
import { messageOf } from '../../core/errors.ts'
import { SqlError } from '../../sql/errors.ts'
import { mayModify, parseStatements } from '../../sql/statement.ts'
import type { Watched } from '../askers.ts'
import { laterTime, MODE, type Owner, viewAttributes } from '../attributes.ts'
import { type Attributes, type Caller, type Client, FsError, type ReadResult, type TimeNs } from '../filesystem.ts'
import { RefusedChange } from '../names.ts'
import type { Scratch } from '../scratch/scratch.ts'
import type { Text } from '../text/text.ts'
import type { FileNode } from '../tree/node.ts'
import { codeOf, type RunSql } from './run-sql.ts'
import { readText } from './view.ts'

/** The name of the folder, in the root. */
export const QUERIES_NAME = 'queries'
export const FORMATS = textFormats.map(({ name }) => name)

/** Of a query. */
export const SQL_BYTES_MAX = 1 << 20

export interface ResultsOptions {
  readonly scratch: Scratch
  readonly run: RunSql
  /** The table's newest version. */
  readonly version: () => Promise<bigint>
  /** As `version`, when no save is under way any more. */
  readonly settledVersion: () => Promise<bigint>
  readonly owner: Owner
  /** Nanoseconds since the epoch. */
  readonly now: () => TimeNs
  readonly nowMs: () => number
  /** Tells whether who made a call still wants the answer. */
  readonly watch: (caller: Caller) => Watched
  /** Takes the sentence for `.errors`. */
  readonly report: (sentence: string) => void
}

export interface ResultOptions extends ResultsOptions {
  readonly id: bigint
  readonly folder: bigint
  readonly fileName: string
  readonly format: TextFormatName
  readonly sql: string | undefined
  /** The attributes that the name showed before: told until the result is there. */
  readonly before: Attributes
  readonly onUse: (result: Result) => void
  readonly onComputed: () => void
}

interface Computed {
  readonly text: Text
  readonly attributes: Attributes
}

interface Running {
  readonly computed: Promise<Computed>
  readonly ending: AbortController
  /** The number of calls that wait for it. */
  waiting: number
}

/** One statement on one version of the table, as a file in one format. */
export class Result implements FileNode {
  readonly kind = 'file'
  readonly isReported = true
  readonly id: bigint
  readonly folder: bigint
  readonly fileName: string
  /** As people call it. */
  readonly name: string
  readonly writable = false
  lastReadMs = Number.NEGATIVE_INFINITY
  readonly #options: ResultOptions
  /** Of the table; undefined as long as nobody has asked for the result. */
  #version: bigint | undefined
  #running: Running | undefined
  #computed: Computed | undefined

  constructor(options: ResultOptions) {
    this.#options = options
    this.id = options.id
    this.folder = options.folder
    this.fileName = options.fileName
    this.name = `${QUERIES_NAME}/${options.fileName}`
  }

  get isComputed(): boolean {
    return this.#computed !== undefined
  }

  get isRunning(): boolean {
    return this.#running !== undefined
  }

  /** True if this is, or will be, the result of a statement on a version of the table. */
  isOf(sql: string | undefined, version: bigint): boolean {
    return this.#options.sql === sql && (this.#version === undefined || this.#version === version)
  }

  known(): Attributes {
    return this.#computed?.attributes ?? { ...this.#options.before, fileId: this.id }
  }

  async attributes({ caller }: Client): Promise<Attributes> {
    return (await this.#compute(caller)).attributes
  }

  async read(offset: bigint, count: number, { caller }: Client): Promise<ReadResult> {
    const { text, attributes } = await this.#compute(caller)
    this.lastReadMs = this.#options.nowMs()
    return { ...(await readText(text, offset, count)), attributes }
  }

  refusal(): RefusedChange {
    return keptName(this.fileName)
  }

  /**
   * All who ask meanwhile wait for one run, which ends when none of them wants it any more; one that failed is tried again
   * by the next who asks.
   */
  async #compute(caller: Caller): Promise<Computed> {
    this.#options.onUse(this)
    for (;;) {
      if (this.#computed !== undefined) return this.#computed
      const running = this.#running ?? this.#start()
      // One that is being ended is nobody's any more.
      if (!running.ending.signal.aborted) return this.#wait(running, caller)
      await running.computed.catch(() => undefined)
    }
  }

  #start(): Running {
    const ending = new AbortController()
    const computed = this.#run(ending.signal).finally(() => {
      this.#running = undefined
      this.#options.onComputed()
    })
    this.#running = { computed, ending, waiting: 0 }
    return this.#running
  }

  async #wait(running: Running, caller: Caller): Promise<Computed> {
    const asked = this.#options.watch(caller)
    running.waiting++
    const leave = (): void => {
      if (--running.waiting === 0) running.ending.abort()
    }
    asked.signal.addEventListener('abort', leave, { once: true })
    if (asked.signal.aborted) leave()
    try {
      return await running.computed
    } finally {
      asked.signal.removeEventListener('abort', leave)
      asked.end()
    }
  }

  async #run(signal: AbortSignal): Promise<Computed> {
    const { settledVersion, run, format, report } = this.#options
    try {
      const sql = this.#checkedSql()
      // A commit between this and the run makes the next reader run it once more than needed, and nobody see an old result.
      this.#version = await settledVersion()
      const text = await run(sql, { format, readOnly: true, signal })
      const computed = { text, attributes: this.#attributesOf(text) }
      this.#computed = computed
      return computed
    } catch (error) {
      this.#version = undefined
      const sentence = `${this.name}: ${messageOf(error).trimEnd()}`
      // Whoever gave up knows of it.
      if (!signal.aborted) report(sentence)
      throw new FsError(codeOf(error), sentence, { cause: error })
    }
  }

  /** Reading a file must not change the table. */
  #checkedSql(): string {
    const { sql } = this.#options
    if (sql === undefined) throw new FsError('EFBIG', `a query has at most ${SQL_BYTES_MAX} bytes`)
    for (const { statement } of mayModify(sql) ? parseStatements(sql) : []) {
      const kind = statement?.kind
      if (kind === undefined || kind === 'query') continue
      throw new SqlError(
        'unsupported',
        `${kind.toUpperCase()} is refused here, as reading a file must not change the table; write the statement to .query`,
      )
    }
    return sql
  }

  #attributesOf({ size }: Text): Attributes {
    const { owner, now, before } = this.#options
    return viewAttributes(owner, { id: this.id, size, mtime: laterTime(now(), before.mtime), mode: MODE.readOnly })
  }
}

/** The refusal of a change of a result, or of its name. */
export function keptName(name: string): RefusedChange {
  const query = `${QUERIES_NAME}/${partsOf(name)?.base}.sql`
  return new RefusedChange(
    'EACCES',
    `${QUERIES_NAME}/${name}: the name is kept for the result of ${query}, and cannot be written, removed or renamed; change the query, and put other files elsewhere`,
  )
}

/** The parts of the name of a result. */
export function partsOf(name: string): { base: string; format: TextFormatName } | undefined {
  const format = FORMATS.find(ending => name.endsWith(`.${ending}`))
  if (format === undefined || name.length === format.length + 1) return undefined
  return { base: name.slice(0, -format.length - 1), format }
}
