import { TextError } from '../../columns/errors.ts'
import {
  countLines,
  crToLf,
  type Dialect,
  delimiterOf,
  endsInCr,
  ForeignCsv,
  isPlain,
  lastRowEnd,
  parseHeader,
  RFC_4180,
  textStart,
} from '../../columns/text/csv.ts'
import type { ReadableFile } from '../../storage/readable-file.ts'
import { type ImportOptions, named } from './import-source.ts'

const HEAD_BYTES = 1 << 20
/** Bytes that papaparse is given at a time: it makes several times as much of them. */
const FOREIGN_BYTES_MAX = 4 << 20
const LF = 0x0a
const CR = 0x0d
const COMMA = 0x2c

/** A CSV file that is imported. */
export interface CsvInput {
  readonly name: string
  readonly sizeBytes: number
  readonly names: readonly string[]
  /** The byte between the fields of `rows`. */
  readonly delimiter: number
  /**
   * Its rows from the first on, cut at row ends, about so many bytes at a time. Lines need not be counted (`isCounted`) for
   * rows that are as they should be: then all begin at the first. Rejects with TextError and StorageError.
   */
  rows(bytesMax: number, isCounted?: boolean): AsyncGenerator<CsvRows>
}

/** Rows in RFC 4180. Their bytes have a buffer of their own, and may be given away. */
export interface CsvRows {
  readonly bytes: Uint8Array
  /** The line of the file at which they begin; see ParseOptions for the others. */
  readonly firstLine: number
  readonly lines?: Uint32Array | undefined
  /** Of the file, which they were made of. */
  readonly sourceBytes: number
  readonly isLast: boolean
}

/** Reads the header of a file, and finds out how it is written. TextError names the file. */
export async function openCsv(source: ReadableFile, options: ImportOptions): Promise<CsvInput> {
  const { name, sizeBytes } = source
  const head = await source.read(0, Math.min(sizeBytes, HEAD_BYTES))
  if (head.length === 0)
    throw new TextError('bad_header', `${name}: the file is empty; its first line has to name the columns`)
  const encoding = foreignEncoding(head)
  if (encoding !== undefined) throw new TextError('malformed_text', `${name}: ${encoding}`)
  const given = { ...RFC_4180, ...options.dialect }
  return isPlain(given)
    ? openPlain(source, head, options.dialect?.delimiter?.charCodeAt(0), options)
    : openForeign(source, head, given, options)
}

function openPlain(
  source: ReadableFile,
  head: Uint8Array,
  given: number | undefined,
  { log }: ImportOptions,
): CsvInput {
  const { name, sizeBytes } = source
  const crOnly = endsInCr(head.subarray(textStart(head)), given)
  if (crOnly) {
    crToLf(head.subarray(textStart(head)), head.length === sizeBytes, given)
    log?.(`${name}: the lines end in CR alone`)
  }
  const delimiter = given ?? foundDelimiter(source, head, RFC_4180, log).charCodeAt(0)
  const { names, endOffset } = named(name, () => parseHeader(head, delimiter))
  const body = { start: endOffset, line: 1 + countLines(head.subarray(0, endOffset)), delimiter, crOnly }
  return {
    name,
    sizeBytes,
    names,
    delimiter,
    rows: (bytesMax, isCounted) => plainRows(source, body, bytesMax, isCounted),
  }
}

function openForeign(source: ReadableFile, head: Uint8Array, given: Dialect, options: ImportOptions): CsvInput {
  const { name, sizeBytes } = source
  if (head.includes(CR) && !head.includes(LF))
    throw new TextError(
      'malformed_text',
      `${name}: the lines end in CR alone, which is only taken where quotes and delimiters are as in RFC 4180; convert it: tr '\\r' '\\n' < FILE | posixlake create TABLE --from-csv -`,
    )
  const delimiter = options.dialect?.delimiter ?? foundDelimiter(source, head, given, options.log)
  const dialect = { ...given, delimiter }
  const first = named(name, () => new ForeignCsv(dialect).rewrite(head, head.length === sizeBytes)).bytes
  const { names, endOffset } = named(name, () => parseHeader(first))
  return {
    name,
    sizeBytes,
    names,
    delimiter: COMMA,
    rows: bytesMax => foreignRows(source, dialect, endOffset, bytesMax),
  }
}

function foundDelimiter(
  { name, sizeBytes }: ReadableFile,
  head: Uint8Array,
  dialect: Dialect,
  log: ImportOptions['log'],
): string {
  const whole = head.length === sizeBytes ? head : head.subarray(0, head.lastIndexOf(LF) + 1)
  const delimiter = delimiterOf(whole, dialect)
  if (delimiter !== ',') log?.(`${name}: the fields are separated by ${JSON.stringify(delimiter)}`)
  return delimiter
}

async function* plainRows(
  source: ReadableFile,
  body: { readonly start: number; readonly line: number; readonly delimiter: number; readonly crOnly: boolean },
  bytesMax: number,
  isCounted = true,
): AsyncGenerator<CsvRows> {
  let firstLine = body.line
  let want = bytesMax
  for (let at = body.start; at < source.sizeBytes; ) {
    const bytes = await readPiece(source, at, want)
    const isLast = at + bytes.length >= source.sizeBytes
    if (body.crOnly) crToLf(bytes, isLast, body.delimiter)
    const length = isLast ? bytes.length : lastRowEnd(bytes, body.delimiter)
    if (length === 0) {
      want *= 2 // One row is longer than the piece.
      continue
    }
    want = bytesMax
    const lines = isCounted ? countLines(bytes.subarray(0, length)) : 0
    yield { bytes: bytes.subarray(0, length), firstLine, sourceBytes: length, isLast }
    firstLine += lines
    at += length
  }
}

/** `headerBytes`: of the header in RFC 4180. */
async function* foreignRows(
  source: ReadableFile,
  dialect: Dialect,
  headerBytes: number,
  bytesMax: number,
): AsyncGenerator<CsvRows> {
  const csv = new ForeignCsv(dialect)
  let header = headerBytes
  for (let at = 0; at < source.sizeBytes; ) {
    const read = await readPiece(source, at, Math.min(bytesMax, FOREIGN_BYTES_MAX))
    at += read.length
    const isLast = at >= source.sizeBytes
    const rewritten = named(source.name, () => csv.rewrite(read, isLast))
    const lines = rewritten.lines.slice(countLines(rewritten.bytes.subarray(0, header)))
    const bytes = header === 0 ? rewritten.bytes : rewritten.bytes.slice(header)
    // The first rows there are begin with the header.
    if (rewritten.bytes.length > 0) header = 0
    yield { bytes, firstLine: lines[0] ?? 1, lines, sourceBytes: read.length, isLast }
  }
}

async function readPiece(source: ReadableFile, at: number, bytesMax: number): Promise<Uint8Array> {
  const bytes = await source.read(at, Math.min(at + bytesMax, source.sizeBytes))
  if (bytes.length > 0) return bytes
  throw new TextError('malformed_text', `${source.name}: the file became shorter while it was read`)
}

/** The first bytes of files that hold no plain text, and what makes it of them. */
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
  const found = ENCODINGS.find(([first]) => first.every((byte, i) => head[i] === byte))?.[1]
  if (found !== undefined) return found
  // Letters in 16 bits have a byte 0 each.
  for (const [first, order] of [
    [0, 'BE'],
    [1, 'LE'],
  ] as const) {
    if (head.length > 3 && head[first] === 0 && head[first + 2] === 0)
      return `this is UTF-16; convert it: iconv -f UTF-16${order} -t UTF-8 FILE | posixlake create TABLE --from-csv -`
  }
  return undefined
}
