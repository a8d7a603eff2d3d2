import { ParquetError, TextError } from '../../columns/errors.ts'
import { decodeRowGroup, type FetchedRowGroup } from '../../columns/parquet/read.ts'
import { FIRST_ROW_GROUP_ROWS, ROW_GROUP_ROWS } from '../../columns/parquet/write.ts'
import { schemaFromJson, schemaToJson } from '../../columns/schema.ts'
import { countLines } from '../../columns/text/csv.ts'
import type { ParsedRows } from '../../columns/text/formats/format.ts'
import { inputOf, type TextFormat, type TextInput, textFormat } from '../../columns/text/formats/index.ts'
import type { RenderedText } from '../../columns/text/rendered.ts'
import type { Batch, Cell, Schema } from '../../columns/types.ts'
import { cellAt, constantVector } from '../../columns/vectors.ts'
import { messageOf } from '../../core/errors.ts'
import { discarded } from '../../core/garbage.ts'
import { DataFileWriter, type WrittenDataFile } from '../data-files/data-file-writer.ts'
import { columnsInFiles, type PartitionTexts } from '../data-files/new-file.ts'
import { type PartitionedRows, splitByPartition } from '../data-files/partitions.ts'

/** Renders one row group of a data file. Who asks has fetched its bytes, which are given away. */
export interface RenderTask {
  readonly kind: 'render'
  readonly rowGroup: FetchedRowGroup
  /** Of the columns that were fetched, as schemaToJson gives it. */
  readonly schemaJson: string
  /** The name of a text form. */
  readonly format: string
}

/** Parses complete rows of text, and makes a data file of them. */
export interface EncodeTask {
  readonly kind: 'encode'
  /** Given away. */
  readonly bytes: Uint8Array
  /** One that can be read back. */
  readonly format: string
  /** The columns in the text's order. */
  readonly schemaJson: string
  readonly firstLine: number
  /** See ParseOptions. */
  readonly lines?: Uint32Array | undefined
  /** The byte between CSV fields; a comma if not given. */
  readonly delimiter?: number | undefined
  /** See ParseOptions. */
  readonly foundTypes?: boolean | undefined
  /** Columns behind those of the text that have one value in every row. */
  readonly constants?: { readonly schemaJson: string; readonly cells: readonly Cell[] } | undefined
  /** The table's partition columns, which are not in its files: there is a file for each of their values. */
  readonly partitionColumns?: readonly string[] | undefined
  /** Values that columns of the text have to have in every row, by their names, as the names of folders say. */
  readonly expected?: ReadonlyMap<string, Cell> | undefined
}

/** A data file that nobody has stored yet. */
export interface EncodedFile extends WrittenDataFile {
  /** Its bytes, in order. */
  readonly pieces: readonly Uint8Array[]
  /** The folder and the values of its partition; empty in a table without partitions. */
  readonly folder: string
  readonly partitionValues: PartitionTexts
}

/** The data files of a piece of text, which nobody has stored yet. */
export interface EncodedFiles {
  readonly files: readonly EncodedFile[]
}

export type Task = RenderTask | EncodeTask
export type TaskResult<T extends Task> = T extends RenderTask ? RenderedText : EncodedFiles

/** An error as it crosses to the main thread and becomes itself again. */
export interface TaskFailure {
  readonly type: 'text' | 'parquet' | 'other'
  readonly code: string
  readonly message: string
  readonly line: number | undefined
  readonly column: string | undefined
}

/** Rows that are short enough become a row group at once: those of several pieces would be copied together first. */
const ENCODE_PIECE_BYTES = 16 << 20
/** Parsing and encoding leave several times the bytes of the text behind. */
const GARBAGE_FACTOR = 4
/** The text itself, which is given away, and the values that it was made of. */
const RENDER_GARBAGE_FACTOR = 2

/** Runs a task where it is called: in a worker, or in the main thread where there is no pool. Tasks do no IO. */
export async function runTask<T extends Task>(task: T): Promise<TaskResult<T>> {
  return (task.kind === 'render' ? render(task) : await encode(task)) as TaskResult<T>
}

/** Returns the buffers that a thread may take over: of the bytes that a task was given, or of those that a result has. */
export function buffersOf(message: Task | RenderedText | EncodedFiles): ArrayBuffer[] {
  const views: Uint8Array[] = []
  if ('rowGroup' in message) views.push(...message.rowGroup.columns.flatMap(({ bytes }) => bytes))
  else if ('files' in message) views.push(...message.files.flatMap(({ pieces }) => pieces))
  else views.push(message.bytes)
  const buffers = new Set(views.map(({ buffer }) => buffer as ArrayBuffer))
  if ('index' in message) buffers.add(message.index.buffer as ArrayBuffer)
  return [...buffers]
}

function render({ rowGroup, schemaJson, format }: RenderTask): RenderedText {
  return renderRowGroup(rowGroup, schemaFromJson(schemaJson), textFormat(format))
}

/** The text of a row group whose columns are `schema`. */
export function renderRowGroup(rowGroup: FetchedRowGroup, schema: Schema, format: TextFormat): RenderedText {
  const rendered = renderBatch(decodeRowGroup(rowGroup, schema), schema, format)
  discarded(rendered.bytes.length * RENDER_GARBAGE_FACTOR)
  return rendered
}

/** The text of rows that were read from a file. */
function renderBatch(batch: Batch, schema: Schema, format: TextFormat): RenderedText {
  const rendered = format.render(batch, schema)
  const column = batch.vectors.findIndex(({ notUtf8 }) => notUtf8 !== undefined)
  return column < 0 ? rendered : { ...rendered, notUtf8: { column, row: batch.vectors[column]!.notUtf8! } }
}

async function encode(task: EncodeTask): Promise<EncodedFiles> {
  const schema = schemaFromJson(task.schemaJson)
  const input = inputOf(textFormat(task.format))
  const { constants = { schemaJson: schemaToJson([]), cells: [] } } = task
  const added = schemaFromJson(constants.schemaJson)
  const files = new FilesInMemory([...schema, ...added], task.partitionColumns ?? [])
  for (let at = 0, rowsMax = FIRST_ROW_GROUP_ROWS; at < task.bytes.length; rowsMax = ROW_GROUP_ROWS) {
    const { rows, vectors, end = task.bytes.length - at } = parsed(task, input, schema, at, rowsMax)
    checkExpected({ rows, vectors }, schema, task)
    const others = added.map(({ type }, i) => constantVector(type, rows, constants.cells[i] ?? null))
    await files.write({ rows, vectors: [...vectors, ...others] })
    at += end
    discarded(end * GARBAGE_FACTOR)
  }
  return { files: await files.finish() }
}

/** Rows from `at` on. Lines are counted only where there is something to be said of one. */
function parsed(
  { bytes, delimiter, foundTypes, firstLine, lines }: EncodeTask,
  input: TextInput,
  schema: Schema,
  at: number,
  rowsMax: number,
): ParsedRows {
  const rest = bytes.subarray(at)
  const options = { delimiter, foundTypes, mayChange: true, rowsMax, bytesMax: ENCODE_PIECE_BYTES }
  try {
    return input.parse(rest, schema, options)
  } catch (error) {
    if (!(error instanceof TextError)) throw error
    const before = countLines(bytes.subarray(0, at))
    return input.parse(rest, schema, { ...options, firstLine: firstLine + before, lines: lines?.subarray(before) })
  }
}

interface FileInMemory {
  readonly writer: DataFileWriter
  readonly pieces: Uint8Array[]
  readonly part: Pick<PartitionedRows, 'folder' | 'values'>
}

/** Data files for rows, one for each partition. */
class FilesInMemory {
  readonly #schema: Schema
  readonly #inFiles: Schema
  readonly #partitionColumns: readonly string[]
  readonly #files = new Map<string, FileInMemory>()

  constructor(schema: Schema, partitionColumns: readonly string[]) {
    this.#schema = schema
    this.#inFiles = columnsInFiles(schema, partitionColumns)
    this.#partitionColumns = partitionColumns
  }

  async write(batch: Batch): Promise<void> {
    if (batch.rows === 0) return
    for (const part of splitByPartition(batch, this.#schema, this.#partitionColumns)) {
      const { rows, vectors } = part.batch
      const kept = vectors.filter((_, i) => this.#inFiles.includes(this.#schema[i]!))
      await this.#fileOf(part).writer.write({ rows, vectors: kept })
    }
  }

  async finish(): Promise<EncodedFile[]> {
    const done: EncodedFile[] = []
    for (const { writer, pieces, part } of this.#files.values())
      done.push({ ...(await writer.finish()), pieces, folder: part.folder, partitionValues: part.values })
    return done
  }

  #fileOf({ key, ...part }: PartitionedRows): FileInMemory {
    const known = this.#files.get(key)
    if (known !== undefined) return known
    const pieces: Uint8Array[] = []
    const writer = new DataFileWriter({ write: bytes => void pieces.push(bytes) }, this.#inFiles)
    const file = { writer, pieces, part }
    this.#files.set(key, file)
    return file
  }
}

function checkExpected({ rows, vectors }: Batch, schema: Schema, { expected }: EncodeTask): void {
  for (const [name, cell] of expected ?? []) {
    const vector = vectors[schema.findIndex(field => field.name === name)]
    for (let row = 0; vector !== undefined && row < rows; row++) {
      if (Bun.deepEquals(cellAt(vector, row), cell)) continue
      const found = JSON.stringify(String(cellAt(vector, row)))
      throw new TextError('malformed_text', `column ${name}: ${found} is not the value in the name of the folder`, {
        column: name,
      })
    }
  }
}

export function toFailure(error: unknown): TaskFailure {
  const message = messageOf(error)
  if (error instanceof TextError)
    return { type: 'text', code: error.code, message, line: error.line, column: error.column }
  if (error instanceof ParquetError)
    return { type: 'parquet', code: error.code, message, line: undefined, column: undefined }
  const code = (error as { code?: unknown } | null)?.code
  return { type: 'other', code: typeof code === 'string' ? code : '', message, line: undefined, column: undefined }
}

export function fromFailure(failure: TaskFailure): Error {
  if (failure.type === 'text') {
    return new TextError(failure.code as TextError['code'], failure.message, {
      ...(failure.line === undefined ? {} : { line: failure.line }),
      ...(failure.column === undefined ? {} : { column: failure.column }),
    })
  }
  if (failure.type === 'parquet') return new ParquetError(failure.code as ParquetError['code'], failure.message)
  return Object.assign(new Error(failure.message), failure.code === '' ? {} : { code: failure.code })
}
