import { randomUUID } from 'node:crypto'
import { existsSync, mkdirSync, rmSync } from 'node:fs'
import { type FileHandle, open, stat, unlink } from 'node:fs/promises'
import { dirname, join } from 'node:path'
import { TextError } from '../../columns/errors.ts'
import { type Footer, readFooter, readRowGroup } from '../../columns/parquet/read.ts'
import { schemaOfFooter } from '../../columns/parquet/schema.ts'
import { localSource } from '../../columns/parquet/source.ts'
import { ParquetFileWriter } from '../../columns/parquet/write.ts'
import { schemaFingerprint, schemaToJson, sqlType } from '../../columns/schema.ts'
import {
  countLines,
  delimiterOf,
  lastRowEnd,
  matchHeader,
  parseHeader,
  SchemaInference,
} from '../../columns/text/csv.ts'
import type { Batch, Schema } from '../../columns/types.ts'
import type { WorkerPool } from '../../columns/workers/pool.ts'
import type { Clock } from '../../core/clock.ts'
import { errnoOf, LakeError, messageOf } from '../../core/errors.ts'
import { localStore, storageError } from '../../storage/local.ts'
import type { NewFile } from '../commit/change-set.ts'
import { TableError } from '../errors.ts'
import { checkNoTable, createTable, type Table } from '../table.ts'
import { newFile } from './write.ts'

/** Each piece becomes a data file of its own. */
const PIECE_BYTES = 12 << 20
const SAMPLE_BYTES = 4 << 20
const HEAD_BYTES = 1 << 20
const LF = 0x0a
const COMMA = 0x2c

export interface ImportOptions {
  readonly pool: WorkerPool
  readonly clock?: Clock
  readonly name?: string
  /** The columns; found from the data if not given. */
  readonly schema?: Schema
  readonly progress?: (doneBytes: number, totalBytes: number) => void
  /** The byte between CSV fields; found from the first rows of each file if not given. */
  readonly delimiter?: number | undefined
  /** Hears of what was found out and may surprise. */
  readonly log?: (sentence: string) => void
  /** Ends the work as if it had failed, unless the table is there already. */
  readonly signal?: AbortSignal
}

/** Stands for standard input among paths. */
const STDIN = '-'

/**
 * Creates a table from CSV files with a header, in one commit. Types are found from a sample, and again from everything
 * if a later value does not fit. TextError names file, line and column of a bad row; then there is no table, and no folder
 * that was not there before.
 */
export async function createFromCsv(
  directory: string,
  paths: readonly string[],
  options: ImportOptions,
): Promise<Table> {
  return importing(directory, options, async written => {
    const inputs: CsvInput[] = []
    for (const path of paths) inputs.push(await openCsv(await sourceFile(path, directory, written, options), options))
    const write = (schema: Schema): Promise<NewFile[]> => writeCsv(directory, inputs, schema, options, written)
    const schema = options.schema ?? (await inferred(inputs, SAMPLE_BYTES, options))
    try {
      return { schema, files: await write(schema) }
    } catch (error) {
      if (options.schema !== undefined || !(error instanceof TextError) || error.code !== 'bad_value') throw error
      // The sample promised more than the rest keeps.
      const wider = await inferred(inputs, Number.POSITIVE_INFINITY, options)
      if (schemaFingerprint(wider) === schemaFingerprint(schema)) throw error
      return { schema: wider, files: await write(wider) }
    }
  })
}

/** A file to import: as messages call it, and where it can be read again and again. */
interface SourceFile {
  readonly name: string
  readonly path: string
}

interface CsvInput extends SourceFile {
  readonly sizeBytes: number
  readonly names: readonly string[]
  /** Where the rows begin. */
  readonly bodyStart: number
  readonly bodyLine: number
  readonly delimiter: number
}

/** Makes the folder, and takes everything back if the work fails: it lists in `written` the data files that it began. */
async function importing(
  directory: string,
  options: ImportOptions,
  work: (written: string[]) => Promise<{ schema: Schema; files: NewFile[] }>,
): Promise<Table> {
  const made = firstMissing(directory)
  mkdirSync(directory, { recursive: true })
  const store = localStore(directory)
  const written: string[] = []
  try {
    await checkNoTable(store)
    const { schema, files } = await work(written)
    const { name, clock, signal } = options
    signal?.throwIfAborted()
    const table = await createTable(store, {
      schema,
      add: files,
      ...(name === undefined ? {} : { name }),
      ...(clock === undefined ? {} : { clock }),
    })
    const kept = new Set(files.map(({ path }) => path))
    await takeAway(
      directory,
      written.filter(path => !kept.has(path)),
    )
    return table
  } catch (error) {
    await takeAway(directory, written)
    if (made !== undefined) rmSync(made, { recursive: true, force: true })
    throw error
  }
}

/** What stays behind does no harm: no version names it. */
async function takeAway(directory: string, paths: readonly string[]): Promise<void> {
  await Promise.all(paths.map(path => unlink(join(directory, path)).catch(() => undefined)))
}

/** The topmost folder that has to be made. */
function firstMissing(directory: string): string | undefined {
  let missing: string | undefined
  for (let path = directory; !existsSync(path); path = dirname(path)) missing = path
  return missing
}

/** What can be read only once, such as a pipe, is copied beside the data first. */
async function sourceFile(
  path: string,
  directory: string,
  written: string[],
  { signal }: ImportOptions,
): Promise<SourceFile> {
  if (path !== STDIN && !(await isPipe(path))) return { name: path, path }
  const name = path === STDIN ? 'standard input' : path
  const copy = `.posixlake-${randomUUID()}.tmp`
  const full = join(directory, copy)
  written.push(copy)
  try {
    const sink = Bun.file(full).writer()
    for await (const bytes of (path === STDIN ? Bun.stdin : Bun.file(path)).stream()) {
      signal?.throwIfAborted()
      sink.write(bytes)
      await sink.flush()
    }
    await sink.end()
  } catch (error) {
    throw errnoOf(error) === undefined ? error : storageError(full, error)
  }
  return { name, path: full }
}

async function isPipe(path: string): Promise<boolean> {
  const info = await stat(path).catch(() => undefined)
  return info !== undefined && (info.isFIFO() || info.isCharacterDevice() || info.isSocket())
}

async function openCsv(source: SourceFile, options: ImportOptions): Promise<CsvInput> {
  const { name } = source
  const file = await openFile(source)
  try {
    const { size: sizeBytes } = await file.stat()
    const head = await readAt(file, 0, Math.min(sizeBytes, HEAD_BYTES))
    if (head.length === 0)
      throw new TextError('bad_header', `${name}: the file is empty; its first line has to name the columns`)
    const encoding = foreignEncoding(head)
    if (encoding !== undefined) throw new TextError('malformed_text', `${name}: ${encoding}`)
    const delimiter = options.delimiter ?? delimiterOf(wholeLines(head, sizeBytes))
    if (options.delimiter === undefined && delimiter !== COMMA)
      options.log?.(`${name}: the fields are separated by ${JSON.stringify(String.fromCharCode(delimiter))}`)
    const { names, endOffset } = named(name, () => parseHeader(head, delimiter))
    const bodyLine = 1 + countLines(head.subarray(0, endOffset))
    return { ...source, sizeBytes, names, bodyStart: endOffset, bodyLine, delimiter }
  } finally {
    await file.close()
  }
}

function wholeLines(head: Uint8Array, sizeBytes: number): Uint8Array {
  return head.length === sizeBytes ? head : head.subarray(0, head.lastIndexOf(LF) + 1)
}

/** How files begin that hold no plain text, and what makes it of them. */
const ENCODINGS: readonly (readonly [first: readonly number[], sentence: string])[] = [
  [[0x1f, 0x8b], 'this is compressed by gzip; unpack it on the way: zcat FILE | posixlake create TABLE --from-csv -'],
  [
    [0x28, 0xb5, 0x2f, 0xfd],
    'this is compressed by zstd; unpack it on the way: zstdcat FILE | posixlake create TABLE --from-csv -',
  ],
  [[0x50, 0x4b, 0x03, 0x04], 'this is a ZIP file, as those of spreadsheets are; save it as CSV, or unpack it'],
  [[0x50, 0x41, 0x52, 0x31], 'this is a Parquet file; give it with --from-parquet'],
  [[0xff, 0xfe], 'this is UTF-16; convert it: iconv -f UTF-16 -t UTF-8 FILE | posixlake create TABLE --from-csv -'],
  [[0xfe, 0xff], 'this is UTF-16; convert it: iconv -f UTF-16 -t UTF-8 FILE | posixlake create TABLE --from-csv -'],
]

function foreignEncoding(head: Uint8Array): string | undefined {
  return ENCODINGS.find(([first]) => first.every((byte, i) => head[i] === byte))?.[1]
}

async function openFile({ name, path }: SourceFile): Promise<FileHandle> {
  let isFolder = false
  try {
    const file = await open(path, 'r')
    const info = await file.stat()
    if (info.isFile()) return file
    isFolder = info.isDirectory()
    await file.close()
  } catch (error) {
    const why = errnoOf(error) === 'ENOENT' ? 'there is no such file' : messageOf(error)
    throw new TableError('missing_file', `${name}: ${why}`, { cause: error })
  }
  const advice = isFolder ? `; name the files in it, as a pattern in quotes: '${join(name, '*')}'` : ''
  throw new TableError('missing_file', `${name} is not a file${advice}`)
}

/** Puts the file's name in front of what is wrong in it. */
function named<T>(path: string, run: () => T): T {
  try {
    return run()
  } catch (error) {
    throw withName(path, error)
  }
}

function withName(path: string, error: unknown): unknown {
  if (!(error instanceof TextError)) return error
  const { line, column } = error
  return new TextError(error.code, `${path}: ${error.message}`, {
    cause: error,
    ...(line === undefined ? {} : { line }),
    ...(column === undefined ? {} : { column }),
  })
}

/** The columns of all inputs, by at most so many bytes of each. */
async function inferred(inputs: readonly CsvInput[], bytesMax: number, { signal }: ImportOptions): Promise<Schema> {
  const [first] = inputs
  if (first === undefined) throw new TextError('bad_header', 'there is no file to import')
  const inference = new SchemaInference(first.names)
  for (const input of inputs) {
    if (input.names.join('\0') !== first.names.join('\0')) {
      throw new TextError(
        'bad_header',
        `${input.name}: the columns are ${input.names.join(', ')}, those of ${first.name} are ${first.names.join(', ')}`,
      )
    }
    let seen = 0
    for await (const { bytes, line } of pieces(input, Math.min(bytesMax, SAMPLE_BYTES))) {
      signal?.throwIfAborted()
      named(input.name, () => inference.feed(bytes, { firstLine: line, delimiter: input.delimiter }))
      seen += bytes.length
      if (seen >= bytesMax) break
    }
  }
  return inference.result()
}

/** The rows of a CSV file, cut at row ends. `line` is that of the piece's first byte. */
async function* pieces(input: CsvInput, bytesMax: number): AsyncGenerator<{ bytes: Uint8Array; line: number }> {
  const file = await openFile(input)
  try {
    let line = input.bodyLine
    let want = bytesMax
    for (let at = input.bodyStart; at < input.sizeBytes; ) {
      const bytes = await readAt(file, at, Math.min(want, input.sizeBytes - at))
      if (bytes.length === 0)
        throw new TextError('malformed_text', `${input.name}: the file became shorter while it was read`)
      const last = at + bytes.length >= input.sizeBytes
      const length = last ? bytes.length : lastRowEnd(bytes, input.delimiter)
      if (length === 0) {
        want *= 2 // One row is longer than the piece.
        continue
      }
      want = bytesMax
      const lines = countLines(bytes.subarray(0, length))
      // The bytes are given away, and so have to have a buffer of their own.
      yield { bytes: length === bytes.length ? bytes : bytes.slice(0, length), line }
      line += lines
      at += length
    }
  } finally {
    await file.close()
  }
}

async function readAt(file: FileHandle, position: number, length: number): Promise<Uint8Array> {
  const bytes = new Uint8Array(length)
  let done = 0
  while (done < length) {
    const { bytesRead } = await file.read(bytes, done, length - done, position + done)
    if (bytesRead === 0) break
    done += bytesRead
  }
  return done === length ? bytes : bytes.slice(0, done)
}

/** Has the pool write each piece to a data file; as many at a time as there are threads. */
async function writeCsv(
  directory: string,
  inputs: readonly CsvInput[],
  schema: Schema,
  options: ImportOptions,
  written: string[],
): Promise<NewFile[]> {
  const { pool, progress, signal } = options
  const totalBytes = inputs.reduce((sum, { sizeBytes }) => sum + sizeBytes, 0)
  const files: NewFile[] = []
  const going = new Set<Promise<void>>()
  const ownFrom = written.length
  let doneBytes = 0
  let failure: unknown
  let number = 0
  const encode = async (
    input: CsvInput,
    columns: Schema,
    bytes: Uint8Array,
    line: number,
    at: number,
  ): Promise<void> => {
    const path = `part-${String(at).padStart(5, '0')}-${randomUUID()}.snappy.parquet`
    written.push(path)
    const size = bytes.length
    try {
      const file = await pool.encode({
        bytes,
        format: 'csv',
        schemaJson: schemaToJson(columns),
        firstLine: line,
        delimiter: input.delimiter,
        outPath: join(directory, path),
      })
      if (file.rows > 0) files[at] = newFile(path, file, columns)
      else await unlink(join(directory, path))
      doneBytes += size
      progress?.(doneBytes, totalBytes)
    } catch (error) {
      failure ??=
        errnoOf(error) !== undefined && !(error instanceof LakeError)
          ? storageError(join(directory, path), error)
          : withName(input.name, error)
    }
  }
  try {
    for (const input of inputs) {
      const columns = inTextOrder(input, schema)
      for await (const { bytes, line } of pieces(input, PIECE_BYTES)) {
        if (signal?.aborted === true) failure ??= signal.reason
        if (failure !== undefined) break
        const task: Promise<void> = encode(input, columns, bytes, line, number++).finally(() => going.delete(task))
        going.add(task)
        // One more than there are threads, so that none has to wait for the disk.
        if (going.size > pool.threads) await Promise.race(going)
      }
    }
  } finally {
    // Nothing may be written any more when the files are taken away.
    await Promise.all(going)
  }
  if (failure !== undefined) {
    await takeAway(directory, written.splice(ownFrom))
    throw failure
  }
  return files.filter(file => file !== undefined)
}

function inTextOrder(input: CsvInput, schema: Schema): Schema {
  const matched = matchHeader(input.names, schema)
  if (matched === undefined || matched.added.length > 0 || matched.missing.length > 0) {
    throw new TextError(
      'bad_header',
      `${input.name}: line 1: the columns are ${input.names.join(', ')}; expected ${schema.map(({ name }) => name).join(', ')}`,
    )
  }
  return matched.fields
}

/** Creates a table from Parquet files whose columns agree, in one commit. */
export async function createFromParquet(
  directory: string,
  paths: readonly string[],
  options: ImportOptions,
): Promise<Table> {
  return importing(directory, options, async written => {
    const inputs: ParquetInput[] = []
    for (const path of paths)
      inputs.push(await openParquet(await sourceFile(path, directory, written, options), options))
    const [first] = inputs
    if (first === undefined) throw new TableError('missing_file', 'there is no file to import')
    const schema = first.schema.map(field => ({ ...field, nullable: true }))
    const totalBytes = inputs.reduce((sum, { source }) => sum + source.sizeBytes, 0)
    let doneBytes = 0
    const store = localStore(directory)
    const files: NewFile[] = []
    const told = new Set<string>()
    for (const [i, { name, source, footer, schema: own }] of inputs.entries()) {
      checkSame(schema, own, name, first.name)
      const path = `part-${String(i).padStart(5, '0')}-${randomUUID()}.snappy.parquet`
      const out = await store.create(path)
      written.push(path)
      try {
        const writer = new ParquetFileWriter(out, schema)
        for (let group = 0; group < footer.rowGroups.length; group++) {
          options.signal?.throwIfAborted()
          const batch = await readRowGroup(source, footer, group, schema)
          noteCut(batch, schema, name, told, options)
          await writer.write(batch)
          doneBytes += source.sizeBytes / footer.rowGroups.length
          options.progress?.(doneBytes, totalBytes)
        }
        const file = await writer.finish()
        await out.close()
        files.push(newFile(path, file, schema))
      } catch (error) {
        await out.abort()
        throw error
      }
    }
    return { schema, files }
  })
}

interface ParquetInput {
  readonly name: string
  readonly source: ReturnType<typeof localSource>
  readonly footer: Footer
  readonly schema: Schema
}

async function openParquet(file: SourceFile, { log }: ImportOptions): Promise<ParquetInput> {
  await (await openFile(file)).close()
  const { name, path } = file
  const source = { ...localSource(path, (await stat(path)).size), name }
  const footer = await readFooter(source)
  return { name, source, footer, schema: schemaOfFooter(footer, name, log) }
}

/** Tells once of each column whose values had more digits than a Delta timestamp has. */
function noteCut({ vectors }: Batch, schema: Schema, file: string, told: Set<string>, { log }: ImportOptions): void {
  for (const [i, { name }] of schema.entries()) {
    if (vectors[i]!.cut === undefined || told.has(name)) continue
    told.add(name)
    log?.(`${file}: column ${name} counts nanoseconds; they are cut to microseconds, the most that Delta has`)
  }
}

function checkSame(schema: Schema, own: Schema, path: string, firstPath: string): void {
  const wrong = schema.find(field => {
    const other = own.find(candidate => candidate.name === field.name)
    return other === undefined || sqlType(other.type) !== sqlType(field.type)
  })
  if (wrong !== undefined || own.length !== schema.length) {
    const columns = (of: Schema): string => of.map(({ name, type }) => `${name} ${sqlType(type)}`).join(', ')
    throw new TableError(
      'bad_schema',
      `${path} has the columns ${columns(own)}, ${firstPath} has ${columns(schema)}; import them one by one`,
    )
  }
}
