import { ParquetFileWriter } from '../columns/parquet/write.ts'
import { textFormats } from '../columns/text/formats/index.ts'
import { type Rows, resultText } from '../sql/format.ts'
import { UsageError } from './command.ts'
import { print } from './output.ts'
import { outputWidth, renderTable, rowTexts, tableColumns } from './render.ts'

/** The forms in which commands print rows. */
export const ROW_FORMATS = ['table', ...textFormats.map(({ name }) => name), 'parquet', 'arrow'] as const
export type RowFormat = (typeof ROW_FORMATS)[number]

/** UsageError for a form that is not to be seen. */
export function checkTerminal(format: string): void {
  if ((format === 'parquet' || format === 'arrow') && process.stdout.isTTY)
    throw new UsageError(`${format} is not for a terminal; send it to a file: > result.${format}`)
}

/** Prints rows as they come. */
export async function showRows(result: Rows, format: RowFormat): Promise<void> {
  const { schema } = result
  switch (format) {
    case 'table':
      for await (const line of renderTable(tableColumns(schema), rowTexts(schema, result.batches()), {
        width: outputWidth(),
      }))
        await print(line)
      return
    case 'parquet': {
      const writer = new ParquetFileWriter({ write: bytes => print(bytes) }, schema, { statistics: false })
      for await (const batch of result.batches()) await writer.write(batch)
      await writer.finish()
      return
    }
    case 'arrow': {
      const { arrowStream } = await import('../columns/arrow.ts')
      for await (const bytes of arrowStream(schema, result.batches())) await print(bytes)
      return
    }
    default:
      for await (const bytes of resultText(result, format)) await print(bytes)
  }
}
