import { readFooter, readRowGroup } from '../../src/columns/parquet/read.ts'
import { storeSource } from '../../src/columns/parquet/source.ts'
import { ParquetFileWriter } from '../../src/columns/parquet/write.ts'
import { formatDate, formatDecimal, formatTimestamp } from '../../src/columns/text/scalars.ts'
import type { Cell, DataType } from '../../src/columns/types.ts'
import { batchOf } from '../../src/columns/vectors.ts'
import { execute } from '../../src/sql/engine.ts'
import type { ObjectStore } from '../../src/storage/object-store.ts'
import { keepNumbers } from '../../src/table/log/json.ts'
import { openTable, type Table } from '../../src/table/table.ts'
import type { Random } from '../columns/values.ts'
import { writeDataFiles } from '../helpers/changes.ts'
import { commitLines, foreignTable } from '../table/fixture.ts'

/** Columns by name, with their types in the log. */
const COLUMNS: readonly (readonly [string, string])[] = [
  ['i', 'integer'],
  ['l', 'long'],
  ['x', 'decimal(20,4)'],
  ['f', 'float'],
  ['g', 'double'],
  ['s', 'string'],
  ['d', 'date'],
  ['t', 'timestamp'],
  ['n', 'timestamp_ntz'],
  ['b', 'boolean'],
]
const PARTITION_TYPES = ['string', 'integer', 'decimal(20,4)', 'double', 'date', 'timestamp', 'boolean']
export const FEATURES = ['deletionVectors', 'columnMapping', 'timestampNtz']

function shortText(random: Random): string {
  return random.of(['a', 'b', 'aé', '𝄞', 'z'.repeat(31), 'z'.repeat(32), '\u{10ffff}'.repeat(33), "it's", '%_', 'A'])
}

/** Values near a centre, so that files differ, and now and then one that stands out. */
function cellNear(random: Random, type: DataType, centre: number, isPartition = false): Cell {
  const near = centre * 10 + random.below(10)
  switch (type.kind) {
    case 'integer':
      return random.below(20) === 0 ? random.of([2147483647, -2147483648]) : near
    case 'long':
      return random.below(6) === 0
        ? random.of([9007199254740993n, 9007199254740992n, -(2n ** 63n), 2n ** 63n - 1n])
        : BigInt(near)
    case 'decimal':
      return random.below(8) === 0
        ? random.of([10n ** 20n - 1n, -(10n ** 20n) + 1n, 12345678901234567891n])
        : BigInt(near) * 1000n + BigInt(random.below(10))
    case 'float':
      return random.below(8) === 0 ? random.of([Number.NaN, -0, 0, Math.fround(0.1)]) : Math.fround(near / 7)
    case 'double':
      return random.below(8) === 0 ? random.of([Number.NaN, -0, 0, 0.1, 1e300]) : near / 7
    case 'string':
      return `${String.fromCodePoint(97 + centre)}${shortText(random)}`.repeat(
        !isPartition && random.below(3) === 0 ? 40 : 1,
      )
    case 'date':
      return random.below(20) === 0 ? -1 : 19_000 + near
    case 'timestamp':
    case 'timestamp_ntz':
      return (
        BigInt(near) * 3_600_000_000n +
        BigInt(random.of([0, 1, 999, 500_000, -1, -1_500])) -
        (near < 20 ? 10n ** 12n : 0n)
      )
    case 'boolean':
      return random.below(2) === 0
    default:
      throw new Error(`there are no values of ${type.kind}`)
  }
}

type Stats = Record<'minValues' | 'maxValues' | 'nullCount', Record<string, unknown>> & { numRecords?: number }

/** Statistics as other writers have them, or damaged, or not there. */
function otherStats(random: Random, text: string): string | undefined {
  const stats = JSON.parse(text, keepNumbers as never) as Stats
  const each = (of: Record<string, unknown>, change: (name: string, value: unknown) => unknown): void => {
    for (const [name, value] of Object.entries(of)) of[name] = change(name, value)
  }
  const double = (_: string, value: unknown): unknown =>
    typeof value === 'object' ? Number(JSON.stringify(value)) : value
  switch (random.below(8)) {
    case 0:
      return undefined
    case 1:
      return random.of(['', '{', '[]', '{"numRecords":"x"}', '{"minValues":7,"maxValues":[1]}'])
    case 2: {
      // Some are missing, of either bound.
      for (const of of [stats.minValues, stats.maxValues, stats.nullCount])
        for (const name of Object.keys(of)) if (random.below(3) === 0) delete of[name]
      return JSON.stringify(stats)
    }
    case 3:
      // Every number is a 64-bit float, as delta-rs has decimals.
      for (const of of [stats.minValues, stats.maxValues])
        each(of, (name, value) => (name.endsWith('x') ? double(name, value) : value))
      return JSON.stringify(stats)
    case 4:
      // Spark cuts texts and puts a sign behind the upper bound; its timestamps name a zone.
      each(stats.maxValues, (_, value) =>
        typeof value === 'string' && !/^\d{4}-/.test(value) && [...value].length > 31
          ? `${[...value].slice(0, 32).join('')}\u{10ffff}`
          : value,
      )
      for (const of of [stats.minValues, stats.maxValues])
        each(of, (_, value) => (typeof value === 'string' ? value.replace(/^(\d{4}-.*)Z$/, '$1+00:00') : value))
      return JSON.stringify(stats)
    case 5:
      each(stats.minValues, (_, value) => (random.below(4) === 0 ? null : value))
      each(stats.maxValues, (name, value) => (random.below(4) === 0 && !/[sP]$/.test(name) ? 'NaN' : value))
      return JSON.stringify({ ...stats, numRecords: undefined })
    default:
      return text
  }
}

export interface Made {
  readonly table: Table
  readonly cells: ReadonlyMap<string, readonly Cell[]>
  readonly types: ReadonlyMap<string, DataType>
}

export interface RandomTableOptions {
  /** Of a file. */
  readonly rowsMax?: number
  /** Rows of each row group of the files; as the writer has them if not given. */
  readonly groupRows?: number
}

/** Writes a file again in row groups of so many rows. Returns its new size. */
async function regrouped(
  { store, snapshot }: Table,
  { path, sizeBytes }: { readonly path: string; readonly sizeBytes: number },
  rowGroupRows: number,
): Promise<number> {
  const source = storeSource(store, path, sizeBytes)
  const footer = await readFooter(source)
  const schema = snapshot.schema.filter(({ name }) => !snapshot.partitionColumns.includes(name))
  const parts: Uint8Array[] = []
  const writer = new ParquetFileWriter({ write: bytes => void parts.push(bytes.slice()) }, schema, { rowGroupRows })
  for (let i = 0; i < footer.rowGroups.length; i++) await writer.write(await readRowGroup(source, footer, i, schema))
  const written = await writer.finish()
  await store.write(path, Buffer.concat(parts))
  return written.sizeBytes
}

/** A table of some files by any writer: partitioned or not, mapped or not, with deleted rows. */
export async function randomTable(
  random: Random,
  store: ObjectStore,
  { rowsMax = 5, groupRows }: RandomTableOptions = {},
): Promise<Made> {
  const isMapped = random.below(2) === 0
  const isPartitioned = random.below(2) === 0
  const names = [...COLUMNS, ...(isPartitioned ? [['P', random.of(PARTITION_TYPES)] as const] : [])]
  const fields = names.map(([name, type], i) => ({
    name,
    type,
    nullable: true,
    metadata: isMapped ? { 'delta.columnMapping.id': i + 1, 'delta.columnMapping.physicalName': `col-${name}` } : {},
  }))
  await foreignTable(store, {
    protocol: { minReaderVersion: 3, minWriterVersion: 7, readerFeatures: FEATURES, writerFeatures: FEATURES },
    metaData: {
      partitionColumns: isPartitioned ? ['P'] : [],
      configuration: {
        'delta.enableDeletionVectors': 'true',
        ...(isMapped ? { 'delta.columnMapping.mode': 'name', 'delta.columnMapping.maxColumnId': '20' } : {}),
      },
    },
    schema: { type: 'struct', fields },
  })
  const empty = await openTable(store)
  const { schema } = empty.snapshot
  const cells = new Map<string, Cell[]>(schema.map(({ name }) => [name, []]))
  const adds: object[] = []
  for (let file = 2 + random.below(6); file > 0; file--) {
    const allNull = schema.map(() => random.below(10) === 0)
    const rows = Array.from({ length: 1 + random.below(rowsMax) }, () =>
      schema.map(({ name, type }, c) => {
        if (allNull[c] === true || random.below(8) === 0) return null
        const cell = cellNear(random, type, name === 'P' ? random.below(3) : file, name === 'P')
        cells.get(name)!.push(cell)
        return cell
      }),
    )
    const batch = batchOf(
      schema.map(({ type }) => type),
      rows,
    )
    for (const { path, sizeBytes, stats, partitionValues } of await writeDataFiles(empty, [batch]))
      adds.push({
        add: {
          path: encodeURI(path),
          size: groupRows === undefined ? sizeBytes : await regrouped(empty, { path, sizeBytes }, groupRows),
          partitionValues,
          modificationTime: adds.length,
          dataChange: true,
          stats: otherStats(random, stats),
        },
      })
  }
  await commitLines(store, 1n, adds)
  const table = await openTable(store)
  if (random.below(2) === 0) await execute(table, 'DELETE FROM data WHERE i % 3 = 0 OR l % 3 = 1')
  return { table, cells, types: new Map(schema.map(({ name, type }) => [name, type])) }
}

function literalOf(random: Random, cell: Cell, type: DataType): string {
  const quoted = (text: string): string => `'${text.replaceAll("'", "''")}'`
  switch (type.kind) {
    case 'integer':
    case 'long': {
      const near = BigInt(cell as number | bigint) + BigInt(random.below(3) - 1)
      return random.of([String(near), `${near}.5`, `${Number(near)}e0`, quoted(String(near))])
    }
    case 'decimal':
      return random.of([
        formatDecimal(cell as bigint, type.scale),
        `${Number(cell) / 10_000}`,
        `${Number(cell) / 10_000}e0`,
      ])
    case 'float':
    case 'double':
      if (Number.isNaN(cell)) return "'NaN'::DOUBLE"
      return random.of([
        `${cell}`,
        `${(cell as number) + 0.25}`,
        `${cell}e0`.replace(/e\S*e0$/, 'e0'),
        String(Math.trunc(cell as number)),
      ])
    case 'string': {
      const text = cell as string
      return quoted(random.of([text, text.slice(0, 1), `${text}a`, [...text].slice(0, 32).join('')]))
    }
    case 'date': {
      const day = formatDate((cell as number) + random.below(3) - 1)
      return random.of([`DATE '${day}'`, `'${day}'`, `TIMESTAMP '${day} 00:00:00'`])
    }
    case 'timestamp':
    case 'timestamp_ntz': {
      const time = formatTimestamp((cell as bigint) + random.of([-1_000n, -1n, 0n, 0n, 1n, 1_000n]))
      const text = `${time.replace('T', random.of(['T', ' ']))}${random.of(['', 'Z'])}`
      return random.of([`TIMESTAMP '${text}'`, `'${text}'`, `TIMESTAMPTZ '${text}'`, `DATE '${time.slice(0, 10)}'`])
    }
    default:
      return random.of(['true', 'false'])
  }
}

export function predicateOf(random: Random, made: Made, depth: number): string {
  if (depth > 0 && random.below(2) === 0) {
    const parts = Array.from({ length: 2 }, () => predicateOf(random, made, depth - 1))
    return random.of([`(${parts.join(' AND ')})`, `(${parts.join(' OR ')})`, `NOT (${parts[0]})`])
  }
  const column = random.of([...made.types.keys()])
  const type = made.types.get(column)!
  const name = random.of([column, `"${column}"`, column.toLowerCase(), `d.${column}`])
  const known = made.cells.get(column)!
  const literal = (): string =>
    known.length === 0 || random.below(20) === 0 ? 'NULL' : literalOf(random, random.of(known), type)
  const operator = random.of(['=', '<>', '<', '<=', '>', '>='])
  switch (random.below(9)) {
    case 0:
      return `${name} IS ${random.of(['', 'NOT '])}NULL`
    case 1:
      return `${name} ${random.of(['', 'NOT '])}IN (${Array.from({ length: 1 + random.below(3) }, literal).join(', ')})`
    case 2:
      return `${name} ${random.of(['', 'NOT '])}BETWEEN ${literal()} AND ${literal()}`
    case 3:
      if (type.kind === 'string') return `${name} LIKE ${literal().replace(/.{0,3}'$/, "%'")}`
      return type.kind === 'boolean' ? name : `${literal()} ${operator} ${name}`
    default:
      return `${name} ${operator} ${literal()}`
  }
}
