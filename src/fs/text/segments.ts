import type { ByteCache, CachedBytes } from '../../cache/byte-cache.ts'
import { ParquetError } from '../../columns/errors.ts'
import { decodeFirstRows, type Footer, fetchRowGroup, readFooter } from '../../columns/parquet/read.ts'
import { type ByteSource, storeSource } from '../../columns/parquet/source.ts'
import { rowsFingerprint, schemaFingerprint, schemaToJson } from '../../columns/schema.ts'
import type { RecordedSize, TextFormat } from '../../columns/text/formats/index.ts'
import { type RenderedText, ROW_INDEX_STRIDE, TEXT_FORMAT_VERSION } from '../../columns/text/rendered.ts'
import type { DataType, Schema } from '../../columns/types.ts'
import { BoundedMap } from '../../core/bounded-map.ts'
import { discarded } from '../../core/garbage.ts'
import { Recent } from '../../core/recent.ts'
import { schemaInFiles } from '../../table/column-mapping.ts'
import { type FileTextSizes, textSizes } from '../../table/data-files/text-sizes.ts'
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
/** A file on this machine that is no larger is read at once: its footer and its rows are wanted soon after each other. */
const AT_ONCE_BYTES = 64 << 10
const SMALL_FILES_BYTES = 8 << 20
/** A row group of so few rows and bytes is rendered where it is asked for: quicker than a thread is started. */
const SMALL_ROWS = 16_384
const SMALL_BYTES = 1 << 20
/** So much of each column chunk is read for some first rows, a dictionary and a page as a rule; and so much of all of them. */
const FIRST_CHUNK_BYTES = 8 << 20
const FIRST_CHUNKS_BYTES = 64 << 20
/** A footer of several row groups or of more column chunks is not read again for the sizes of texts. */
const CHUNKS_MAX = 64
/** One that is smaller still takes less time than to be handed to a thread that is there. */
const TINY_ROWS = 1024
const TINY_BYTES = 64 << 10

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
  return { tableId, schema, schemaJson: schemaToJson(schema), fingerprint: fingerprintOf(schema, format), format }
}

/** A short name for all that the text of a row follows from, in a form. */
function fingerprintOf(schema: Schema, { namesInRows }: TextFormat): string {
  return namesInRows ? schemaFingerprint(schema) : rowsFingerprint(schema)
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
  readonly #small = new Recent<Uint8Array>(SMALL_FILES_BYTES, ({ length }) => length, discarded)
  readonly #facts = new Recent<FileFacts>(FACTS_BYTES, factsBytes)
  readonly #sizes = new Recent<readonly PieceSize[]>(FACTS_BYTES, sizes => sizes.length * OBJECT_BYTES)
  /** Files whose recorded sizes turned out to be wrong. */
  readonly #misrecorded = new BoundedMap<string, true>(NOTED_FILES_MAX)
  #measuring = { doneBytes: 0, totalBytes: 0, files: 0 }
  #readsOn = false

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

  /** From now on whoever reads goes on to the end: with the first piece that is not cached all threads are started. */
  readOn(): void {
    this.#readsOn = true
  }

  /** The text of one row group, all its rows. Rejects with ParquetError, StorageError or the system's Error. */
  piece(kind: TextKind, file: LiveFile, rowGroup: number): Promise<RenderedText> {
    const key = pieceKey(kind, file, rowGroup)
    return this.#recent.get(key, () => this.#load(key, kind, file, rowGroup))
  }

  /**
   * The text of some first rows of a file, of about so many bytes, where that comes sooner than the piece that they are of.
   * Undefined where it does not, or is not known to.
   */
  async firstRows(kind: TextKind, file: LiveFile, bytes: number): Promise<Uint8Array | undefined> {
    const { schema, format } = kind
    const { footer } = await this.#factsOf(file)
    const [group] = footer.rowGroups
    if (group === undefined || isSmall(group, false) || schema.some(({ type }) => isNested(type))) return undefined
    if ((await this.#cache.get(pieceKey(kind, file, 0))) !== undefined) return undefined
    const rows = Math.ceil((bytes * group.rows) / Math.max(group.bytes, group.rows))
    try {
      const most = Math.min(FIRST_CHUNK_BYTES, Math.floor(FIRST_CHUNKS_BYTES / schema.length))
      const fetched = await fetchRowGroup(this.#source(file), footer, 0, schema, file.partition, most)
      return format.render(decodeFirstRows(fetched, schema, rows), schema).bytes
    } catch (error) {
      // The pages in front are larger, or damaged: that of the whole piece is told.
      if (error instanceof ParquetError) return undefined
      throw error
    }
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
    const part = recordedPart(kind, recorded)
    return part === undefined ? undefined : recorded[part.size] + rows * part.extra
  }

  /** The sizes of a file's pieces: from its footer if it is one of ours, by rendering all of it otherwise. */
  async sizes(kind: TextKind, file: LiveFile): Promise<readonly PieceSize[]> {
    const only = await this.#onlyPiece(kind, file)
    if (only !== undefined) return [only]
    const isRecorded = !this.#misrecorded.has(file.path) && file.partition.size === 0
    const key = pieceKey(kind, file, isRecorded ? FOUND_SIZES : MEASURED_SIZES)
    return this.#sizes.get(key, async () => {
      const kept = sizesFromCached(await this.#cache.get(key))
      if (kept !== undefined) return kept
      const { footer, sizes } = await this.#factsOf(file)
      const recorded = isRecorded ? recordedSizes(kind, footer, sizes) : undefined
      const found = recorded ?? (await this.#measure(kind, file, footer))
      if (recorded === undefined || this.#isSlow(footer, file)) await this.#cache.put(key, sizesToCached(found))
      return found
    })
  }

  /** True if a footer takes longer to read than what is cached of it. */
  #isSlow({ rowGroups }: Footer, file: LiveFile): boolean {
    const chunks = rowGroups.length * (rowGroups[0]?.columns.length ?? 0)
    return rowGroups.length > 1 || chunks > CHUNKS_MAX || this.#store.localPath(file.path) === undefined
  }

  /**
   * The size of the only piece that a small file has, told without its footer: all its rows are in a text at hand that has
   * the size that is recorded of the file.
   */
  async #onlyPiece(kind: TextKind, file: LiveFile): Promise<PieceSize | undefined> {
    const { rows } = file
    if (rows === undefined || rows > SMALL_ROWS || file.sizeBytes > SMALL_BYTES) return undefined
    const recorded = this.recordedSize(kind, file)
    if (recorded === undefined) return undefined
    const text = await this.#kept(pieceKey(kind, file, 0))
    return text?.rows === rows && text.bytes.length === recorded ? { firstRow: 0, rows, bytes: recorded } : undefined
  }

  /** The text of a piece, if it need not be rendered. */
  async #kept(key: string): Promise<RenderedText | undefined> {
    const atHand = this.#recent.made(key)
    if (atHand !== undefined || this.#recent.has(key)) return atHand
    const cached = fromCached(await this.#cache.get(key))
    // What has to be told of a text is told by whoever loads it.
    if (cached === undefined || cached.notUtf8 !== undefined) return undefined
    return this.#recent.get(key, () => Promise.resolve(cached))
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
    if (this.#readsOn) this.#pool.start()
    // The text is kept, so the bytes that it is made of need not be.
    const source = this.#source(file, true)
    const fetched = await fetchRowGroup(source, footer, rowGroup, schema, file.partition)
    const group = footer.rowGroups[rowGroup]
    if (group !== undefined && isSmall(group, this.#pool.isStarted)) return renderRowGroup(fetched, schema, format)
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

  /** `isOnce`: what is made of its bytes is kept, so that they need not be. */
  #source({ path, sizeBytes }: LiveFile, isOnce = false): ByteSource {
    const source = storeSource(this.#store, path, sizeBytes, { isOnce })
    if (sizeBytes > AT_ONCE_BYTES || this.#store.localPath(path) === undefined) return source
    return {
      ...source,
      read: async (start, end) => {
        const bytes = await this.#small.get(path, () => this.#store.read(path))
        return end <= bytes.length ? bytes.subarray(start, end) : source.read(start, end)
      },
    }
  }

  /** Renders all of a file once to learn the sizes. */
  async #measure(kind: TextKind, file: LiveFile, { rowGroups }: Footer): Promise<readonly PieceSize[]> {
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
    return sizes
  }
}

function isSmall({ rows, bytes }: Footer['rowGroups'][number], besideThreads: boolean): boolean {
  return rows <= (besideThreads ? TINY_ROWS : SMALL_ROWS) && bytes <= (besideThreads ? TINY_BYTES : SMALL_BYTES)
}

function isNested({ kind }: DataType): boolean {
  return kind === 'struct' || kind === 'array' || kind === 'map' || kind === 'variant'
}

/** Bytes of a small object, roughly. */
const OBJECT_BYTES = 64

function factsBytes({ footer, sizes, order }: FileFacts): number {
  const { rowGroups, root } = footer
  const groups = rowGroups.length + root.children.length + (sizes?.groups.length ?? 0)
  const runs = (order?.runs.length ?? 0) + (order?.refs.length ?? 0)
  return (groups + runs) * OBJECT_BYTES
}

/** In the place of a row group: the sizes of all, as the file records them if it does, or as they were measured though. */
const FOUND_SIZES = -2
const MEASURED_SIZES = -3

/** A piece's text never changes while these stay the same. */
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
  recorded: Pick<FileTextSizes, 'schema' | 'unnamed'>,
): { size: RecordedSize['size']; extra: number } | undefined {
  if (format.recorded === undefined) return undefined
  const { size, perRow } = format.recorded
  const recordedSchema = format.namesInRows ? recorded.schema : (recorded.unnamed ?? recorded.schema)
  if (recordedSchema === fingerprint) return { size, extra: perRow }
  // A row of a single column is written in a way of its own where it is NULL.
  for (let known = schema.length - 1; known >= 2; known--) {
    if (fingerprintOf(schema.slice(0, known), format) !== recordedSchema) continue
    return { size, extra: perRow + format.nullsSize(schema.slice(known)) }
  }
  return undefined
}

/** The sizes of pieces that a footer of ours records; undefined if they are of other columns. */
function recordedSizes(
  kind: TextKind,
  { rowGroups }: Footer,
  recorded: ReturnType<typeof textSizes>,
): readonly PieceSize[] | undefined {
  const part = recorded && recordedPart(kind, recorded)
  if (recorded === undefined || part === undefined) return undefined
  return rowGroups.map(({ firstRow, rows }, i) => {
    const bytes = recorded.groups[i]![`${part.size}Bytes`] + rows * part.extra
    return { firstRow, rows, bytes }
  })
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

function sizesToCached(sizes: readonly PieceSize[]): CachedBytes {
  const pairs = sizes.map(({ rows, bytes }) => [rows, bytes])
  return { bytes: new TextEncoder().encode(JSON.stringify(pairs)), meta: new Uint8Array(0) }
}

function sizesFromCached(cached: CachedBytes | undefined): readonly PieceSize[] | undefined {
  if (cached === undefined) return undefined
  const pairs = JSON.parse(new TextDecoder().decode(cached.bytes)) as readonly (readonly [number, number])[]
  let firstRow = 0
  return pairs.map(([rows, bytes]) => {
    firstRow += rows
    return { firstRow: firstRow - rows, rows, bytes }
  })
}
