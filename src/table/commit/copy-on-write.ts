import { readFooter, readRowGroup } from '../../columns/parquet/read.ts'
import { storeSource } from '../../columns/parquet/source.ts'
import { ParquetFileWriter } from '../../columns/parquet/write.ts'
import type { Field } from '../../columns/types.ts'
import { takeRows } from '../../columns/vectors.ts'
import type { ObjectStore } from '../../storage/object-store.ts'
import { schemaInFiles } from '../column-mapping.ts'
import { newFile, pathInPlaceOf } from '../operations/write.ts'
import type { LiveFile, Snapshot } from '../snapshot.ts'
import type { NewFile } from './change-set.ts'

/**
 * Writes a file again without some of its rows, for tables that do not enable deletion vectors. The new file has the old
 * one's time, and so its place among the others. Durable when it resolves; `deleted`: physical rows, ascending.
 */
export async function withoutRows(
  store: ObjectStore,
  snapshot: Snapshot,
  file: LiveFile,
  deleted: Uint32Array,
): Promise<NewFile> {
  const source = storeSource(store, file.path, file.sizeBytes)
  const footer = await readFooter(source)
  const isInFile = (field: Field): boolean => !snapshot.partitionColumns.includes(field.name)
  const schema = snapshot.schema.filter(isInFile)
  const readSchema = schemaInFiles(snapshot).filter(isInFile)
  const path = pathInPlaceOf(file.path)
  const out = await store.create(path)
  try {
    const writer = new ParquetFileWriter(out, schema)
    let next = 0
    for (const [group, { firstRow, rows }] of footer.rowGroups.entries()) {
      const kept: number[] = []
      for (let row = firstRow; row < firstRow + rows; row++) {
        if (deleted[next] === row) next++
        else kept.push(row - firstRow)
      }
      if (kept.length > 0) await writer.write(takeRows(await readRowGroup(source, footer, group, readSchema), kept))
    }
    const written = await writer.finish()
    await out.close()
    const { partitionValues, modificationTime } = file.add
    return { ...newFile(path, written, schema, partitionValues ?? {}), modificationTime }
  } catch (error) {
    await out.abort()
    throw error
  }
}
