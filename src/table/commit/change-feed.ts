import { ParquetFileWriter } from '../../columns/parquet/write.ts'
import type { Batch, Field, Schema } from '../../columns/types.ts'
import { vectorOf } from '../../columns/vectors.ts'
import { Counts } from '../../core/counts.ts'
import { lowerBound } from '../../core/search.ts'
import type { ObjectStore, ObjectWriter } from '../../storage/object-store.ts'
import { schemaInFiles } from '../column-mapping.ts'
import { columnsInFiles, type PartitionTexts } from '../data-files/new-file.ts'
import { splitByPartition } from '../data-files/partitions.ts'
import { type PickedRows, partitionCells, pickedRows, type RowsFile } from '../data-files/picked-rows.ts'
import type { LiveFile } from '../live-files.ts'
import type { Action } from '../log/actions/index.ts'
import { encodePath } from '../log/paths.ts'
import { hasChangeFeed } from '../protocol.ts'
import type { Snapshot } from '../snapshot.ts'
import type { Change, Deletion } from './change.ts'
import { checkText } from './copy-on-write.ts'
import type { StagedFiles } from './staged-files.ts'
import { keysOf, type TouchedRows, type Updates } from './touched-rows.ts'

/** The folder of the files that tell of changed rows (PROTOCOL.md, "Change Data Files"). */
export const CHANGE_DATA_FOLDER = '_change_data'

/** The column of those files that tells the change of a row. */
export const CHANGE_TYPE: Field = { name: '_change_type', type: { kind: 'string' }, nullable: true, metadata: {} }

type ChangeType = 'insert' | 'delete' | 'update_preimage' | 'update_postimage'

/** So many keys are kept. The rows of a larger change are not paired: they are told as deletes and inserts. */
const KEYS_MAX = 1 << 20

/**
 * The change data files of one change. They follow from the version that it was worked out from, whatever others commit
 * meanwhile: whoever takes the same rows is a conflict.
 */
export class ChangeFeed {
  readonly #store: ObjectStore
  readonly #staged: StagedFiles
  readonly #base: Snapshot
  #told: TouchedRows | undefined
  #begun: Promise<{ readonly types: ChangeTypes; readonly writer: CdcWriter }> | undefined
  #actions: Promise<Action[]> | undefined

  constructor(store: ObjectStore, staged: StagedFiles, base: Snapshot) {
    this.#store = store
    this.#staged = staged
    this.#base = base
  }

  /** Says which rows change, where the files of the change do not, or not all of it. */
  tell(rows: TouchedRows): void {
    this.#told = rows
  }

  /** True if new rows are to be given to `write`: others go, which the files of the change alone do not say. */
  get isWanted(): boolean {
    const { protocol, metadata } = this.#base
    return this.takesRows && hasChangeFeed(protocol, metadata.configuration)
  }

  /** The rows that it was told of. */
  get told(): TouchedRows | undefined {
    return this.#told
  }

  /** True if it was told of rows that go. */
  get takesRows(): boolean {
    return (this.#told?.removed.length ?? 0) > 0
  }

  /** Takes new rows, and those with new values, in the schema's column order. */
  async write(batch: Batch, schema: Schema): Promise<void> {
    this.#begun ??= this.#begin(schema)
    const { types, writer } = await this.#begun
    await writer.write(batch, types.ofAdded(batch))
  }

  /** The cdc actions; their files are durable when it resolves, and written once, however often the commit is tried. */
  actions(change: Change): Promise<Action[]> {
    this.#actions ??= this.#finish(change)
    return this.#actions
  }

  async #begin(schema: Schema): Promise<{ readonly types: ChangeTypes; readonly writer: CdcWriter }> {
    const { removed, updates } = this.#told ?? NOTHING_TOLD
    const types =
      updates.by === 'place'
        ? new TypesByPlace(updates)
        : await TypesByKey.of(updates.column, removed, this.#read(schema))
    return { types, writer: new CdcWriter(this.#staged, schema, this.#base.partitionColumns) }
  }

  async #finish(change: Change): Promise<Action[]> {
    const schema = change.schema ?? this.#base.schema
    const read = this.#read(schema)
    if (this.#told === undefined)
      for await (const batch of newRows(change, schema, read)) await this.write(batch, schema)
    this.#begun ??= this.#begin(schema)
    const { types, writer } = await this.#begun
    for (const { file, rows } of this.#told?.removed ?? change.delete) {
      for await (const picked of read(file, rows)) {
        checkText(picked.batch, schema, [...picked.numbers.keys()], file)
        await writer.write(picked.batch, types.ofRemoved(picked, file))
      }
    }
    return writer.finish()
  }

  #read(schema: Schema): Read {
    const inFiles = schemaInFiles({ schema, metadata: this.#base.metadata })
    return (file, rows) => pickedRows(this.#store, file, inFiles, rows)
  }
}

const NOTHING_TOLD: TouchedRows = { removed: [], updates: { by: 'key', column: undefined } }

type Read = (file: RowsFile, rows?: Uint32Array) => AsyncIterable<PickedRows>

/** The rows of the files that a change adds. */
async function* newRows({ add, base }: Change, schema: Schema, read: Read): AsyncGenerator<Batch> {
  for (const file of add) {
    const partition = partitionCells(file.partitionValues, schema, base.partitionColumns)
    for await (const { batch } of read({ ...file, partition })) yield batch
  }
}

/** Tells the change types of rows, which come in the order in which they are written: those that are added first. */
interface ChangeTypes {
  ofAdded(batch: Batch): ChangeType[]
  ofRemoved(picked: PickedRows, file: LiveFile): ChangeType[]
}

class TypesByPlace implements ChangeTypes {
  readonly #updated: ReadonlyMap<LiveFile, Uint32Array>
  #left: number

  constructor({ removed, added }: Extract<Updates, { by: 'place' }>) {
    this.#updated = new Map(removed.map(({ file, rows }) => [file, rows]))
    this.#left = added
  }

  ofAdded({ rows }: Batch): ChangeType[] {
    return Array.from({ length: rows }, () => (this.#left-- > 0 ? 'update_postimage' : 'insert'))
  }

  ofRemoved({ numbers }: PickedRows, file: LiveFile): ChangeType[] {
    const updated = this.#updated.get(file)
    return Array.from(numbers, row =>
      updated !== undefined && updated[lowerBound(updated, row)] === row ? 'update_preimage' : 'delete',
    )
  }
}

class TypesByKey implements ChangeTypes {
  readonly #column: number | undefined
  /** The keys that go, and did not come back yet. */
  readonly #gone: Counts
  /** The keys that came back. */
  readonly #back = new Counts()

  private constructor(column: number | undefined, gone: Counts) {
    this.#column = column
    this.#gone = gone
  }

  static async of(column: number | undefined, removed: readonly Deletion[], read: Read): Promise<TypesByKey> {
    const gone = new Counts()
    if (column === undefined) return new TypesByKey(undefined, gone)
    for (const { file, rows } of removed) {
      for await (const { batch } of read(file, rows)) {
        for (const key of keysOf(batch, column)) if (key !== undefined) gone.add(key)
        if (gone.size > KEYS_MAX) return new TypesByKey(undefined, new Counts())
      }
    }
    return new TypesByKey(column, gone)
  }

  ofAdded(batch: Batch): ChangeType[] {
    return keysOf(batch, this.#column).map(key => {
      if (key === undefined || !this.#gone.take(key)) return 'insert'
      this.#back.add(key)
      return 'update_postimage'
    })
  }

  ofRemoved({ batch }: PickedRows): ChangeType[] {
    return keysOf(batch, this.#column).map(key =>
      key !== undefined && this.#back.take(key) ? 'update_preimage' : 'delete',
    )
  }
}

interface OpenFile {
  readonly path: string
  readonly out: ObjectWriter
  readonly parquet: ParquetFileWriter
  readonly partitionValues: PartitionTexts
}

/** Writes change data files: one for each partition. */
class CdcWriter {
  readonly #staged: StagedFiles
  readonly #schema: Schema
  readonly #inFiles: Schema
  readonly #partitionColumns: readonly string[]
  readonly #open = new Map<string, OpenFile>()

  constructor(staged: StagedFiles, schema: Schema, partitionColumns: readonly string[]) {
    this.#staged = staged
    this.#schema = [...schema, CHANGE_TYPE]
    this.#inFiles = columnsInFiles(this.#schema, partitionColumns)
    this.#partitionColumns = partitionColumns
  }

  async write({ rows, vectors }: Batch, types: readonly ChangeType[]): Promise<void> {
    if (rows === 0) return
    const batch = { rows, vectors: [...vectors, vectorOf(CHANGE_TYPE.type, types)] }
    for (const part of splitByPartition(batch, this.#schema, this.#partitionColumns)) {
      const file = this.#open.get(part.key) ?? (await this.#begin(part.key, part.folder, part.values))
      const kept = part.batch.vectors.filter((_, i) => this.#inFiles.includes(this.#schema[i]!))
      await file.parquet.write({ rows: part.batch.rows, vectors: kept })
    }
  }

  async #begin(key: string, folder: string, partitionValues: PartitionTexts): Promise<OpenFile> {
    const name = `cdc-${String(this.#open.size).padStart(5, '0')}-${crypto.randomUUID()}.snappy.parquet`
    const path = [CHANGE_DATA_FOLDER, folder, name].filter(part => part !== '').join('/')
    const out = await this.#staged.create(path)
    const parquet = new ParquetFileWriter(out, this.#inFiles)
    const file: OpenFile = { path, out, parquet, partitionValues }
    this.#open.set(key, file)
    return file
  }

  async finish(): Promise<Action[]> {
    const actions: Action[] = []
    for (const { path, out, parquet, partitionValues } of this.#open.values()) {
      const { sizeBytes } = await parquet.finish()
      await out.close()
      actions.push({ cdc: { path: encodePath(path), partitionValues, size: sizeBytes, dataChange: false } })
    }
    return actions
  }
}
