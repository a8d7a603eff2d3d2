import type { ByteCache, CachedBytes } from '../../cache/byte-cache.ts'
import { ParquetError } from '../../columns/errors.ts'
import { type Footer, fetchRowGroup, readFooter } from '../../columns/parquet/read.ts'
import { type ByteSource, storeSource } from '../../columns/parquet/source.ts'
import { schemaFingerprint, schemaToJson } from '../../columns/schema.ts'
import type { RecordedSize, TextFormat } from '../../columns/text/formats/index.ts'
import { type RenderedText, ROW_INDEX_STRIDE, TEXT_FORMAT_VERSION } from '../../columns/text/rendered.ts'
import type { Schema } from '../../columns/types.ts'
import { BoundedMap } from '../../core/bounded-map.ts'
import { discarded } from '../../core/garbage.ts'
import { Recent } from '../../core/recent.ts'
import { schemaInFiles } from '../../table/column-mapping.ts'
import { textSizes } from '../../table/data-files/text-sizes.ts'
import { decodeOrderHint, type OrderHint } from '../../table/order-hint.ts'
import { fileTextSizes, type LiveFile, type Snapshot } from '../../table/snapshot.ts'
import type { Table } from '../../table/table.ts'
import { ORDER_KEY } from '../../table/tags.ts'
import type { WorkerPool } from '../../table/workers/pool.ts'
import { renderRowGroup } from '../../table/workers/tasks.ts'

/** Rendered row groups that are kept at hand, in bytes: a mapping made anew for every READ would cost more than the READ. */
const RECENT_BYTES = 48 << 20
/** Row groups of files that are elsewhere that are fetched ahead. */
const REMOTE_AHEAD = 6
/** Bytes kept of facts from files' footers, and of the sizes of other writers' texts. */
const FACTS_BYTES = 16 << 20
/** Files of which something is noted that is found out again when it is needed. */
const NOTED_FILES_MAX = 50_000
/** A row group of so few rows and bytes is rendered where it is asked for: quicker than a thread is started. */
const SMALL_ROWS = 16_384
const SMALL_BYTES = 1 << 20

/** The place of a row group's rows and bytes in the text of its file, deleted rows included. */
export interface PieceSize {
  readonly firstRow: number
  readonly rows: number
  readonly bytes: number
}

/** Everything that the text of a data file depends on, beside the file itself. */
export interface TextKind {
  readonly tableId: string
  readonly schema: Schema
  readonly schemaJson: string
  readonly fingerprint: string
  readonly format: TextFormat
}

/** The facts of a data file's footer that its text needs. */
interface FileFacts {
  readonly footer: Footer
  readonly sizes: ReturnType<typeof textSizes>
  readonly order: OrderHint | undefined
}

/** The progress of rendering other writers' files. */
export interface MeasuringProgress {
  readonly doneBytes: number
  readonly totalBytes: number
}

export function textKind(snapshot: Snapshot, format: TextFormat): TextKind {
  const { tableId } = snapshot
  const schema = schemaInFiles(snapshot)
  return { tableId, schema, schemaJson: schemaToJson(schema), fingerprint: schemaFingerprint(schema), format }
}

/** The texts of data files, row group by row group: rendered once, then cached under what they follow from. */
export class Segments {
  readonly #cache: ByteCache
  readonly #pool: WorkerPool
  readonly #store: Table['store']
  readonly #report: (sentence: string) => void
  /** Files that hold text which is not UTF-8, and where the first is. */
  readonly #notUtf8 = new BoundedMap<string, string>(NOTED_FILES_MAX)
  readonly #recent = new Recent<RenderedText>(
    RECENT_BYTES,
    ({ bytes, index }) => bytes.length + index.byteLength,
    discarded,
  )
  readonly #facts = new Recent<FileFacts>(FACTS_BYTES, factsBytes)
  readonly #measured = new Recent<readonly PieceSize[]>(FACTS_BYTES, sizes => sizes.length * OBJECT_BYTES)
  /** Files whose recorded sizes turned out to be wrong. */
  readonly #misrecorded = new BoundedMap<string, true>(NOTED_FILES_MAX)
  #measuring = { doneBytes: 0, totalBytes: 0, files: 0 }

  /** `report` hears, once for each file, of text that is not shown as it is. */
  constructor(options: {
    readonly cache: ByteCache
    readonly pool: WorkerPool
    readonly store: Table['store']
    readonly report?: (sentence: string) => void
  }) {
    this.#report = options.report ?? (() => undefined)
    this.#cache = options.cache
    this.#pool = options.pool
    this.#store = options.store
  }

  /** The number of pieces behind the one that is read that are worth having: more of a file that is elsewhere. */
  ahead(file: LiveFile): number {
    return this.#store.localPath(file.path) === undefined ? Math.max(REMOTE_AHEAD, this.parallel) : this.parallel
  }

  /** The number of pieces that are worth rendering at the same time. */
  get parallel(): number {
    return this.#pool.threads
  }

  /** The rendering of other writers' files that goes on now; undefined if none does. */
  get measuring(): MeasuringProgress | undefined {
    return this.#measuring.files === 0 ? undefined : this.#measuring
  }

  /** The text of one row group, all its rows. Rejects with ParquetError, StorageError or the system's Error. */
  piece(kind: TextKind, file: LiveFile, rowGroup: number): Promise<RenderedText> {
    const key = pieceKey(kind, file, rowGroup)
    return this.#recent.get(key, () => this.#load(key, kind, file, rowGroup))
  }

  /** The text of one row group under its key (see `pieceKey`), if it is at hand. */
  pieceAtHand(key: string): RenderedText | undefined {
    return this.#recent.made(key)
  }

  /** Takes the text of rows that were just written, so that nobody has to decode them. */
  prime(snapshot: Snapshot, file: LiveFile, rowGroup: number, format: TextFormat, rendered: RenderedText): void {
    const key = pieceKey(textKind(snapshot, format), file, rowGroup)
    if (this.#recent.has(key)) return
    void this.#recent.get(key, () => Promise.resolve(rendered))
    void this.#cache.put(key, toCached(rendered))
  }

  /** The size of a whole file's text if its add action records it: no file is opened. */
  recordedSize(kind: TextKind, file: LiveFile): number | undefined {
    if (file.partition.size > 0 || this.#misrecorded.has(file.path)) return undefined
    const recorded = fileTextSizes(file)
    const { rows } = file
    if (recorded === undefined || rows === undefined) return undefined
    const part = recordedPart(kind, recorded.schema)
    return part === undefined ? undefined : recorded[part.size] + rows * part.extra
  }

  /** The sizes of a file's pieces: from its footer if it is one of ours, by rendering all of it otherwise. */
  async sizes(kind: TextKind, file: LiveFile): Promise<readonly PieceSize[]> {
    const facts = await this.#factsOf(file)
    const recorded = this.#misrecorded.has(file.path) || file.partition.size > 0 ? undefined : facts.sizes
    const part = recorded === undefined ? undefined : recordedPart(kind, recorded.schema)
    if (recorded !== undefined && part !== undefined) {
      return facts.footer.rowGroups.map(({ firstRow, rows }, i) => {
        const bytes = recorded.groups[i]![`${part.size}Bytes`] + rows * part.extra
        return { firstRow, rows, bytes }
      })
    }
    const key = pieceKey(kind, file, -1)
    return this.#measured.get(key, () => this.#measure(key, kind, file, facts))
  }

  /** The order hint of a file that announces one by its tag; undefined if its footer has none. */
  async orderHint(file: LiveFile): Promise<OrderHint | undefined> {
    return (await this.#factsOf(file)).order
  }

  /** Returns the number of a file's rows, deleted ones included. */
  async rows(file: LiveFile): Promise<number> {
    if (file.rows !== undefined) return file.rows
    return (await this.#factsOf(file)).footer.rowGroups.reduce((sum, { rows }) => sum + rows, 0)
  }

  /** From now on this file is measured: its text has another size than its record says. */
  measureAgain(file: LiveFile): void {
    this.#misrecorded.set(file.path, true)
  }

  async #load(key: string, kind: TextKind, file: LiveFile, rowGroup: number): Promise<RenderedText> {
    const cached = fromCached(await this.#cache.get(key))
    const rendered = cached ?? (await this.#render(kind, file, rowGroup))
    if (rendered.notUtf8 !== undefined) await this.#noteNotUtf8(kind, file, rowGroup, rendered.notUtf8)
    if (cached === undefined) await this.#cache.put(key, toCached(rendered))
    return rendered
  }

  async #noteNotUtf8(
    { schema }: TextKind,
    file: LiveFile,
    rowGroup: number,
    { column, row }: NonNullable<RenderedText['notUtf8']>,
  ): Promise<void> {
    const firstRow = (await this.#factsOf(file)).footer.rowGroups[rowGroup]?.firstRow ?? 0
    if (this.#notUtf8.has(file.path)) return
    const where = `${file.path}: row ${firstRow + row + 1}, column ${schema[column]?.name}`
    this.#notUtf8.set(file.path, `row ${firstRow + row + 1}, column ${schema[column]?.name}`)
    this.#report(`${where}: the text is not UTF-8; what is not is shown as \ufffd`)
  }

  /** Returns the first place of text in a file that is not UTF-8; undefined if all is. Renders the file. */
  async notUtf8(kind: TextKind, file: LiveFile): Promise<string | undefined> {
    const { length } = (await this.#factsOf(file)).footer.rowGroups
    for (let i = 0; i < length && !this.#notUtf8.has(file.path); i++) await this.piece(kind, file, i)
    return this.#notUtf8.get(file.path)
  }

  async #render(kind: TextKind, file: LiveFile, rowGroup: number): Promise<RenderedText> {
    const { footer } = await this.#factsOf(file)
    const { schema, schemaJson, format } = kind
    // The text is kept, so the bytes that it is made of need not be.
    const source = storeSource(this.#store, file.path, file.sizeBytes, { isOnce: true })
    const fetched = await fetchRowGroup(source, footer, rowGroup, schema, file.partition)
    const group = footer.rowGroups[rowGroup]
    const isSmall = group !== undefined && group.rows <= SMALL_ROWS && group.bytes <= SMALL_BYTES
    if (isSmall && !this.#pool.isStarted) return renderRowGroup(fetched, schema, format)
    return this.#pool.render({ rowGroup: fetched, schemaJson, format: format.name })
  }

  #factsOf(file: LiveFile): Promise<FileFacts> {
    return this.#facts.get(file.path, () => this.#readFacts(file))
  }

  async #readFacts(file: LiveFile): Promise<FileFacts> {
    const footer: Footer = await readFooter(this.#source(file))
    if (file.rows !== undefined && footer.rows !== file.rows) {
      throw new ParquetError(
        'corrupt',
        `${this.#store.location}/${file.path}: the file has ${footer.rows} rows, the table's log says ${file.rows}`,
      )
    }
    const order = footer.keyValue.get(ORDER_KEY)
    return {
      footer,
      sizes: textSizes(footer),
      order: order === undefined ? undefined : decodeOrderHint(order),
    }
  }

  #source(file: LiveFile): ByteSource {
    return storeSource(this.#store, file.path, file.sizeBytes)
  }

  /** Renders all of a file once to learn the sizes; they are kept beside the texts. */
  async #measure(key: string, kind: TextKind, file: LiveFile, facts: FileFacts): Promise<readonly PieceSize[]> {
    const { rowGroups } = facts.footer
    const kept = sizesFromCached(await this.#cache.get(key), rowGroups)
    if (kept !== undefined) return kept
    const sizes: PieceSize[] = []
    const progress = this.#measuring.files === 0 ? { doneBytes: 0, totalBytes: 0, files: 0 } : this.#measuring
    this.#measuring = progress
    progress.files++
    progress.totalBytes += file.sizeBytes
    try {
      let next = 0
      const measureSome = async (): Promise<void> => {
        for (let i = next++; i < rowGroups.length; i = next++) {
          const { firstRow, rows } = rowGroups[i]!
          sizes[i] = { firstRow, rows, bytes: (await this.piece(kind, file, i)).bytes.length }
          progress.doneBytes += file.sizeBytes / rowGroups.length
        }
      }
      await Promise.all(Array.from({ length: this.parallel }, measureSome))
    } finally {
      progress.files--
    }
    const bytes = new TextEncoder().encode(JSON.stringify(sizes.map(size => size.bytes)))
    await this.#cache.put(key, { bytes, meta: new Uint8Array(0) })
    return sizes
  }
}

/** Bytes of a small object, roughly. */
const OBJECT_BYTES = 64

function factsBytes({ footer, sizes, order }: FileFacts): number {
  const { rowGroups, root } = footer
  const groups = rowGroups.length + root.children.length + (sizes?.groups.length ?? 0)
  const runs = (order?.runs.length ?? 0) + (order?.refs.length ?? 0)
  return (groups + runs) * OBJECT_BYTES
}

/** A piece's text never changes while these stay the same. Row group -1 stands for the sizes of all. */
export function pieceKey(kind: TextKind, file: LiveFile, rowGroup: number): string {
  const { tableId, fingerprint, format } = kind
  const { path, sizeBytes, modificationTime } = file
  return `${tableId}/${path}/${sizeBytes}/${modificationTime}/${fingerprint}/${TEXT_FORMAT_VERSION}/${format.name}/${rowGroup}`
}

/**
 * Which of a file's recorded sizes a text follows from, and what each row has beyond it: what the form adds, and columns
 * that the table got after the file was written (they are NULL there). Undefined if the record is of other columns.
 */
function recordedPart(
  { schema, format, fingerprint }: TextKind,
  recordedSchema: string,
): { size: RecordedSize['size']; extra: number } | undefined {
  if (format.recorded === undefined) return undefined
  const { size, perRow } = format.recorded
  if (recordedSchema === fingerprint) return { size, extra: perRow }
  // A row of a single column is written in a way of its own where it is NULL.
  for (let known = schema.length - 1; known >= 2; known--) {
    if (schemaFingerprint(schema.slice(0, known)) !== recordedSchema) continue
    return { size, extra: perRow + format.nullsSize(schema.slice(known)) }
  }
  return undefined
}

function toCached({ bytes, rows, index, notUtf8 }: RenderedText): CachedBytes {
  const meta = new Uint32Array(1 + index.length + (notUtf8 === undefined ? 0 : 2))
  meta[0] = rows
  meta.set(index, 1)
  if (notUtf8 !== undefined) meta.set([notUtf8.column, notUtf8.row], 1 + index.length)
  return { bytes, meta: new Uint8Array(meta.buffer) }
}

function fromCached(cached: CachedBytes | undefined): RenderedText | undefined {
  if (cached === undefined || cached.meta.length < 4 || cached.meta.length % 4 !== 0) return undefined
  const numbers = new Uint32Array(cached.meta.slice().buffer)
  const rows = numbers[0]!
  const indexEnd = 1 + Math.ceil(rows / ROW_INDEX_STRIDE)
  const text = { bytes: cached.bytes, rows, index: numbers.subarray(1, indexEnd) }
  if (numbers.length === indexEnd) return text
  if (numbers.length !== indexEnd + 2) return undefined
  return { ...text, notUtf8: { column: numbers[indexEnd]!, row: numbers[indexEnd + 1]! } }
}

function sizesFromCached(
  cached: CachedBytes | undefined,
  rowGroups: Footer['rowGroups'],
): readonly PieceSize[] | undefined {
  if (cached === undefined) return undefined
  try {
    const sizes = JSON.parse(new TextDecoder().decode(cached.bytes)) as number[]
    if (sizes.length !== rowGroups.length) return undefined
    return rowGroups.map(({ firstRow, rows }, i) => ({ firstRow, rows, bytes: sizes[i]! }))
  } catch {
    return undefined
  }
}
