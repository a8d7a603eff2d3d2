import { closeSync, fsyncSync, openSync, writeSync } from 'node:fs'
import { messageOf } from '../../core/errors.ts'
import { discarded } from '../../core/garbage.ts'
import { ParquetError, TextError } from '../errors.ts'
import { type Footer, readFooter, readRowGroup } from '../parquet/read.ts'
import { localSource } from '../parquet/source.ts'
import { ParquetFileWriter, type WrittenFile } from '../parquet/write.ts'
import { schemaFromJson, schemaToJson } from '../schema.ts'
import { countLines } from '../text/csv.ts'
import { inputOf, type TextFormat, type TextInput, textFormat } from '../text/formats/index.ts'
import type { RenderedText } from '../text/rendered.ts'
import type { Batch, Cell, Schema } from '../types.ts'
import { cellAt, constantVector } from '../vectors.ts'

/** Renders one row group of a local Parquet file. */
export interface RenderTask {
  readonly kind: 'render'
  readonly path: string
  readonly sizeBytes: number
  readonly rowGroup: number
  /** Of the table's columns, as schemaToJson gives it. */
  readonly schemaJson: string
  readonly partition: readonly (readonly [string, Cell])[]
  readonly format: string
}

/** Parses complete rows of text and writes them to a new local Parquet file, durably. */
export interface EncodeTask {
  readonly kind: 'encode'
  readonly bytes: Uint8Array
  /** One that can be read back. */
  readonly format: string
  /** The columns in the text's order. */
  readonly schemaJson: string
  readonly firstLine: number
  /** The byte between CSV fields; a comma if not given. */
  readonly delimiter?: number | undefined
  /** See ParseOptions. */
  readonly foundTypes?: boolean | undefined
  /** Columns behind those of the text that have one value in every row. */
  readonly constants?: { readonly schemaJson: string; readonly cells: readonly Cell[] } | undefined
  /** Values that columns of the text have to have in every row, by their names, as the names of folders say. */
  readonly expected?: ReadonlyMap<string, Cell> | undefined
  /** The file to create; removed again by the caller if the task fails. */
  readonly outPath: string
}

export type Task = RenderTask | EncodeTask
export type TaskResult<T extends Task> = T extends RenderTask ? RenderedText : WrittenFile

/** An error as it crosses to the main thread and becomes itself again. */
export interface TaskFailure {
  readonly type: 'text' | 'parquet' | 'other'
  readonly code: string
  readonly message: string
  readonly line: number | undefined
  readonly column: string | undefined
}

const ENCODE_PIECE_BYTES = 4 << 20
const FOOTERS_KEPT = 64
/** Parsing and encoding leave several times the bytes of the text behind. */
const GARBAGE_FACTOR = 8
/** The text itself, which is given away, and the values that it was made of. */
const RENDER_GARBAGE_FACTOR = 2
const footers = new Map<string, Footer>()

/** Runs a task where it is called: in a worker, or in the main thread where there is no pool. */
export async function runTask<T extends Task>(task: T): Promise<TaskResult<T>> {
  return (task.kind === 'render' ? await render(task) : await encode(task)) as TaskResult<T>
}

async function render(task: RenderTask): Promise<RenderedText> {
  const source = localSource(task.path, task.sizeBytes)
  const key = `${task.path}\0${task.sizeBytes}`
  let footer = footers.get(key)
  if (footer === undefined) {
    footer = await readFooter(source)
    if (footers.size >= FOOTERS_KEPT) footers.delete(footers.keys().next().value!)
    footers.set(key, footer)
  }
  const schema = schemaFromJson(task.schemaJson)
  const batch = await readRowGroup(source, footer, task.rowGroup, schema, new Map(task.partition))
  const rendered = renderBatch(batch, schema, textFormat(task.format))
  discarded(rendered.bytes.length * RENDER_GARBAGE_FACTOR)
  return rendered
}

/** The text of rows that were read from a file. */
export function renderBatch(batch: Batch, schema: Schema, format: TextFormat): RenderedText {
  const rendered = format.render(batch, schema)
  const column = batch.vectors.findIndex(({ notUtf8 }) => notUtf8 !== undefined)
  return column < 0 ? rendered : { ...rendered, notUtf8: { column, row: batch.vectors[column]!.notUtf8! } }
}

async function encode(task: EncodeTask): Promise<WrittenFile> {
  const schema = schemaFromJson(task.schemaJson)
  const input = inputOf(textFormat(task.format))
  const fd = openSync(task.outPath, 'wx', 0o644)
  try {
    const sink = {
      write: (bytes: Uint8Array): void => {
        for (let done = 0; done < bytes.length; ) done += writeSync(fd, bytes, done, bytes.length - done)
      },
    }
    const { constants = { schemaJson: schemaToJson([]), cells: [] } } = task
    const added = schemaFromJson(constants.schemaJson)
    const writer = new ParquetFileWriter(sink, [...schema, ...added])
    let line = task.firstLine
    for (let at = 0; at < task.bytes.length; ) {
      const end = pieceEnd(task, input, at)
      const piece = task.bytes.subarray(at, end)
      const { delimiter, foundTypes } = task
      const { rows, vectors } = input.parse(piece, schema, { firstLine: line, delimiter, foundTypes })
      checkExpected({ rows, vectors }, schema, task)
      const others = added.map(({ type }, i) => constantVector(type, rows, constants.cells[i] ?? null))
      await writer.write({ rows, vectors: [...vectors, ...others] })
      line += countLines(piece)
      at = end
      discarded(piece.length * GARBAGE_FACTOR)
    }
    const written = await writer.finish()
    fsyncSync(fd)
    return written
  } finally {
    closeSync(fd)
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

function pieceEnd({ bytes, delimiter }: EncodeTask, input: TextInput, start: number): number {
  for (let want = ENCODE_PIECE_BYTES; start + want < bytes.length; want *= 2) {
    const piece = bytes.subarray(start, start + want)
    const end = input.lastRowEnd(piece, delimiter)
    if (end > 0) return start + end
  }
  return bytes.length
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
