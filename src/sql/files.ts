import { mkdir, open } from 'node:fs/promises'
import { join } from 'node:path'
import { ParquetError } from '../columns/errors.ts'
import { type Footer, readFooter, readRowGroup } from '../columns/parquet/read.ts'
import { type ByteSource, localSource } from '../columns/parquet/source.ts'
import { ParquetFileWriter } from '../columns/parquet/write.ts'
import type { Schema } from '../columns/types.ts'
import { errnoOf, LakeError, messageOf } from '../core/errors.ts'
import { schemaInFiles } from '../table/column-mapping.ts'
import { type LiveFile, type Snapshot, TEXT_TAG } from '../table/snapshot.ts'
import type { Table } from '../table/table.ts'
import { SqlError } from './errors.ts'
import { readsInPlace } from './in-place.ts'
import { localPathOf, type PathOf } from './relation.ts'

/** Footers that are read at the same time. */
const PARALLEL = 16

/**
 * Where the engine finds the files of a snapshot: in place, or, where it would read something else than our own reader does
 * (`readsInPlace`, and what `isRefused` names), in a copy that our reader makes in `folder`: the same rows, each at its
 * place. The folder is made when it is needed. Rejects with SqlError, also for a file that nobody can read.
 */
export async function pathsForEngine(
  table: Table,
  snapshot: Snapshot,
  folder: string,
  isRefused: (file: LiveFile) => boolean = () => false,
): Promise<PathOf> {
  const schema = schemaInFiles(snapshot).filter(({ name }) => !snapshot.partitionColumns.includes(name))
  const copies = new Map<LiveFile, string>()
  for (let start = 0; start < snapshot.files.length; start += PARALLEL) {
    const some = snapshot.files.slice(start, start + PARALLEL)
    const odd = await Promise.all(some.map(file => fileToCopy(table, file, schema, isRefused(file))))
    for (const [i, found] of odd.entries())
      if (found !== undefined) copies.set(some[i]!, await copied(found, schema, folder, `${start + i}.parquet`))
  }
  return file => copies.get(file) ?? localPathOf(table, file)
}

/** A file whose footer has been read. */
interface OpenFile {
  readonly source: ByteSource
  readonly footer: Footer
}

/** A file that cannot be read in place. */
async function fileToCopy(
  table: Table,
  file: LiveFile,
  schema: Schema,
  isRefused: boolean,
): Promise<OpenFile | undefined> {
  const path = localPathOf(table, file)
  // Our own files need not be looked into.
  if (!isRefused && file.tag(TEXT_TAG) !== undefined) return undefined
  const source = localSource(path, file.sizeBytes)
  try {
    const footer = await readFooter(source)
    return isRefused || !readsInPlace(footer, schema) ? { source, footer } : undefined
  } catch (cause) {
    if (cause instanceof ParquetError) throw new SqlError('failed', cause.message, { cause })
    // A file that is not there: the engine says so, if the statement gets to it.
    return undefined
  }
}

async function copied({ source, footer }: OpenFile, schema: Schema, folder: string, name: string): Promise<string> {
  try {
    await mkdir(folder, { recursive: true, mode: 0o700 })
    const path = join(folder, name)
    const file = await open(path, 'wx', 0o600)
    try {
      const writer = new ParquetFileWriter({ write: bytes => file.writeFile(bytes) }, schema)
      for (let group = 0; group < footer.rowGroups.length; group++)
        await writer.write(await readRowGroup(source, footer, group, schema))
      await writer.finish()
    } finally {
      await file.close()
    }
    return path
  } catch (cause) {
    if (cause instanceof LakeError) throw new SqlError('failed', cause.message, { cause })
    const why = errnoOf(cause) === 'ENOSPC' ? 'the disk is full' : messageOf(cause)
    throw new SqlError('failed', `${source.name} cannot be made readable for SQL in ${folder}: ${why}`, { cause })
  }
}
