import { type ByteSink, type ChunkStatistics, ParquetFileWriter } from '../../columns/parquet/write.ts'
import type { Batch, Schema } from '../../columns/types.ts'
import { discarded } from '../../core/garbage.ts'
import { TEXT_KEY } from '../tags.ts'
import { type IndexedColumns, StatisticsBuilder } from './statistics.ts'
import { encodeTextSizes, measureRowGroup, type RowGroupText } from './text-sizes.ts'

/** A data file that is written to its end. */
export interface WrittenDataFile {
  readonly sizeBytes: number
  readonly rows: number
  /** The `stats` of its add action, as JSON text. */
  readonly stats: string
  readonly csvBytes: number
  readonly jsonlBytes: number
  readonly rowGroups: readonly RowGroupText[]
}

export interface DataFileOptions {
  /** Of every row group; if not given, a small first one and large ones behind it. */
  readonly rowGroupRows?: number
  /** Which columns get statistics. */
  readonly indexed?: IndexedColumns
  /** Columns of the file behind the others, of which views show nothing. */
  readonly hidden?: Schema
}

/** Writes one data file of a table: Parquet, with the statistics of its rows and the sizes of their texts. */
export class DataFileWriter {
  readonly #schema: Schema
  readonly #statistics: StatisticsBuilder
  readonly #parquet: ParquetFileWriter
  readonly #rowGroups: RowGroupText[] = []

  /** `schema`: the columns in the file, in order. */
  constructor(sink: ByteSink, schema: Schema, { indexed, hidden = [], ...options }: DataFileOptions = {}) {
    this.#schema = schema
    this.#statistics = new StatisticsBuilder(schema, indexed)
    this.#parquet = new ParquetFileWriter(sink, [...schema, ...hidden], {
      ...options,
      onRowGroup: (batches, statistics) => this.#measure(batches, statistics),
    })
  }

  write(batch: Batch): Promise<void> {
    return this.#parquet.write(batch)
  }

  /** Writes what is left and the footer, with `extra` among its key-value metadata. */
  async finish(extra: ReadonlyMap<string, string> = new Map()): Promise<WrittenDataFile> {
    const { sizeBytes, rows } = await this.#parquet.finish(
      () => new Map([...extra, [TEXT_KEY, encodeTextSizes(this.#schema, this.#rowGroups)]]),
    )
    const sum = (of: (group: RowGroupText) => number): number =>
      this.#rowGroups.reduce((total, group) => total + of(group), 0)
    return {
      sizeBytes,
      rows,
      stats: this.#statistics.finish(),
      csvBytes: sum(group => group.csvBytes),
      jsonlBytes: sum(group => group.jsonlBytes),
      rowGroups: this.#rowGroups,
    }
  }

  #measure(all: readonly Batch[], statistics: readonly (ChunkStatistics | undefined)[]): void {
    const batches = all.map(({ rows, vectors }) => ({ rows, vectors: vectors.slice(0, this.#schema.length) }))
    this.#statistics.add(batches, statistics)
    const text = measureRowGroup(batches, this.#schema)
    this.#rowGroups.push(text)
    discarded(text.csvBytes)
  }
}
