import {
  binaryOf,
  fieldsOf,
  integerBytes,
  integerOf,
  itemsOf,
  type RawField,
  structBytes,
  structsBytes,
  THRIFT,
  textBytes,
} from './thrift-raw.ts'

/** The letters that a Parquet file begins with, and that it ends with behind its metadata and their length. */
export const PARQUET_MAGIC = Uint8Array.of(0x50, 0x41, 0x52, 0x31)

/** Numbers of fields of parquet.thrift. */
const FILE = { rows: 3, rowGroups: 4 } as const
const GROUP = { columns: 1, rows: 3 } as const
/** Column and offset indexes are 4 to 7. */
const CHUNK = { otherFile: 1, metadata: 3, indexes: [4, 5, 6, 7] } as const
const METADATA = { entries: 5, statistics: 12, bloomFilter: [14, 15] } as const
const STATISTICS = { nulls: 3, max: 5, min: 6 } as const

/** The statistics of the values of one column chunk. Bounds as Parquet's PLAIN encoding has them. */
export interface ChunkStatistics {
  /** NULLs among them. */
  readonly entries: number
  readonly nulls: number | undefined
  readonly min: Uint8Array | undefined
  readonly max: Uint8Array | undefined
}

/** The file that chunks are said to be in whose values are not in the file. */
const ELSEWHERE = 'not-fetched'

/** The metadata of a Parquet file, of which other metadata can be made that say less and the same. */
export class RawFooter {
  readonly #fields: readonly RawField[]
  readonly #groups: readonly (readonly RawField[])[]

  /** `metadata`: FileMetaData of parquet.thrift. Throws Error if it is damaged. */
  constructor(metadata: Uint8Array) {
    this.#fields = fieldsOf(metadata)
    const groups = this.#fields.find(({ id }) => id === FILE.rowGroups)
    this.#groups = groups === undefined ? [] : itemsOf(groups.value).map(fieldsOf)
  }

  /** The statistics of a column chunk; undefined if there are none. Throws Error if they are damaged. */
  statistics(rowGroup: number, leaf: number): ChunkStatistics | undefined {
    const columns = fieldOf(this.#groups[rowGroup] ?? [], GROUP.columns)
    const chunk = columns && itemsOf(columns)[leaf]
    const metadata = chunk && fieldOf(fieldsOf(chunk), CHUNK.metadata)
    const known = metadata === undefined ? [] : fieldsOf(metadata)
    const entries = fieldOf(known, METADATA.entries)
    const statistics = fieldOf(known, METADATA.statistics)
    if (entries === undefined || statistics === undefined) return undefined
    const fields = fieldsOf(statistics)
    const [nulls, min, max] = [STATISTICS.nulls, STATISTICS.min, STATISTICS.max].map(id => fieldOf(fields, id))
    return {
      entries: Number(integerOf(entries)),
      nulls: nulls && Number(integerOf(nulls)),
      min: min && binaryOf(min),
      max: max && binaryOf(max),
    }
  }

  /**
   * The end of a file that has these row groups only, each at its old place, and of their column chunks those that `isHere`
   * tells by the number of the leaf. Of the others the metadata say that they are in another file, so that no reader takes
   * what stands in their place for values. What lies beside the chunks (indexes, Bloom filters) is not told of any more.
   */
  part(rowGroups: readonly number[], isHere: (leaf: number) => boolean): Uint8Array {
    const groups = rowGroups.map(i => this.#groups[i]!)
    const rows = groups.reduce((sum, group) => sum + integerOf(fieldOf(group, GROUP.rows)!), 0n)
    const metadata = structBytes(
      this.#fields.map(field => {
        if (field.id === FILE.rows) return { ...field, value: integerBytes(rows) }
        if (field.id !== FILE.rowGroups) return field
        return {
          ...field,
          value: structsBytes(groups.map(group => structBytes(partOfGroup(group, isHere)))),
        }
      }),
    )
    const length = Buffer.alloc(4)
    length.writeUInt32LE(metadata.length)
    return Buffer.concat([metadata, length, PARQUET_MAGIC])
  }
}

function fieldOf(fields: readonly RawField[], wanted: number): Uint8Array | undefined {
  return fields.find(({ id }) => id === wanted)?.value
}

function partOfGroup(group: readonly RawField[], isHere: (leaf: number) => boolean): RawField[] {
  return group.map(field => {
    if (field.id !== GROUP.columns) return field
    const chunks = itemsOf(field.value).map((chunk, leaf) => structBytes(partOfChunk(fieldsOf(chunk), isHere(leaf))))
    return { ...field, value: structsBytes(chunks) }
  })
}

function partOfChunk(chunk: readonly RawField[], isHere: boolean): RawField[] {
  const dropped: readonly number[] = isHere ? CHUNK.indexes : [CHUNK.otherFile, ...CHUNK.indexes]
  const kept = chunk.filter(({ id }) => !dropped.includes(id)).map(withoutBloomFilter)
  return isHere ? kept : [{ id: CHUNK.otherFile, type: THRIFT.binary, value: textBytes(ELSEWHERE) }, ...kept]
}

function withoutBloomFilter(field: RawField): RawField {
  if (field.id !== CHUNK.metadata) return field
  const gone: readonly number[] = METADATA.bloomFilter
  return { ...field, value: structBytes(fieldsOf(field.value).filter(({ id }) => !gone.includes(id))) }
}
