import { readFooter, readRowGroup } from '../../columns/parquet/read.ts'
import { storeSource } from '../../columns/parquet/source.ts'
import { cellToJson } from '../../columns/text/json.ts'
import type { Batch, Schema } from '../../columns/types.ts'
import { cellAt, takeRows } from '../../columns/vectors.ts'
import type { ObjectStore } from '../../storage/object-store.ts'
import { schemaInFiles } from '../column-mapping.ts'
import { DataFileWriter } from '../data-files/data-file-writer.ts'
import { keptRows } from '../data-files/kept-rows.ts'
import { columnsInFiles, type NewFile, newFile } from '../data-files/new-file.ts'
import { pathInPlaceOf } from '../data-files/paths.ts'
import { TableError } from '../errors.ts'
import type { LiveFile } from '../live-files.ts'
import { indexedColumns } from '../properties.ts'
import type { Snapshot } from '../snapshot.ts'
import { idColumns, idsOf } from './row-tracking.ts'
import type { StagedFiles } from './staged-files.ts'

/** Text that is not UTF-8 in a file by another writer would not be the same in the new one. */
export function checkText(batch: Batch, schema: Schema, kept: readonly number[], file: LiveFile): void {
  for (const [i, vector] of batch.vectors.entries()) {
    if (vector.notUtf8 === undefined) continue
    if (kept.some(row => cellToJson(cellAt(vector, row), vector.type).includes(REPLACEMENT)))
      throw textWouldBeLost(file, `column ${schema[i]?.name}`)
  }
}

/** The refusal of a change that writes a file anew in which there is text that has no form in a new file. */
export function textWouldBeLost({ path }: LiveFile, where: string): TableError {
  return new TableError(
    'constraint',
    `${path}, ${where}: some text is not UTF-8 (it is shown with ${REPLACEMENT}), and would be lost when the file is written anew; change those rows, too, or let the table have deletion vectors (delta.enableDeletionVectors), so that it is not written anew`,
  )
}

/** Stands in text for what is not UTF-8. */
export const REPLACEMENT = '\ufffd'

/**
 * Writes a file again without some of its rows, for tables that do not enable deletion vectors. The new file has the old
 * one's time, and so its place among the others. Durable when it resolves; `deleted`: physical rows, ascending.
 */
export async function withoutRows(
  store: ObjectStore,
  staged: StagedFiles,
  snapshot: Snapshot,
  file: LiveFile,
  deleted: Uint32Array,
): Promise<NewFile> {
  const source = storeSource(store, file.path, file.sizeBytes)
  const footer = await readFooter(source)
  const schema = columnsInFiles(snapshot.schema, snapshot.partitionColumns)
  const readSchema = columnsInFiles(schemaInFiles(snapshot), snapshot.partitionColumns)
  const path = pathInPlaceOf(file.path)
  const out = await staged.create(path)
  const hidden = idColumns(snapshot)
  const writer = new DataFileWriter(out, schema, { indexed: indexedColumns(snapshot.metadata.configuration), hidden })
  for (const { group, kept } of keptRows(footer, deleted)) {
    if (kept.length === 0) continue
    const all = await readRowGroup(source, footer, group, [...readSchema, ...hidden])
    checkText(all, schema, kept, file)
    const batch = takeRows(all, kept)
    const { firstRow } = footer.rowGroups[group]!
    const own = batch.vectors.slice(0, schema.length)
    const stored = batch.vectors.slice(schema.length)
    const ids =
      hidden.length === 0
        ? []
        : idsOf(
            file.add,
            stored,
            kept.map(row => firstRow + row),
          )
    await writer.write({ rows: kept.length, vectors: [...own, ...ids] })
  }
  const written = await writer.finish()
  await out.close()
  const { partitionValues, modificationTime } = file.add
  return newFile(path, written, schema, { partitionValues: partitionValues ?? {}, modificationTime })
}
