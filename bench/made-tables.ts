import { randomUUID } from 'node:crypto'
import { closeSync, linkSync, mkdirSync, openSync, statSync, writeFileSync, writeSync } from 'node:fs'
import { join } from 'node:path'
import { parseDdl } from '../src/columns/schema.ts'
import { batchOf } from '../src/columns/vectors.ts'
import { localStore } from '../src/storage/local.ts'
import { addAction } from '../src/table/commit/file-actions.ts'
import { formatCommit } from '../src/table/log/json.ts'
import { commitPath } from '../src/table/log/paths.ts'
import { createTable } from '../src/table/operations/create.ts'
import { type NewFile, openTable } from '../src/table/table.ts'
import { writeDataFiles } from '../test/helpers/changes.ts'

/*
 * Tables that would take long to be written in the usual way: of many files, and with long logs. Each file has one row, and
 * many share their bytes on disk.
 */

const SCHEMA = parseDdl('id:Int64,name:String,value:Int64')
/** A file of ext4 has at most 65,000 names. */
const NAMES_MAX = 60_000
const FIRST_ID = 1_000_000_000

async function linkedFiles(location: string, count: number): Promise<NewFile[]> {
  const table = await createTable(localStore(location), { schema: SCHEMA })
  const types = SCHEMA.map(field => field.type)
  const files: NewFile[] = []
  for (let shared: NewFile | undefined; files.length < count; ) {
    const i = files.length
    if (i % NAMES_MAX === 0)
      [shared] = await writeDataFiles(table, [batchOf(types, [[BigInt(FIRST_ID), 'a name', BigInt(FIRST_ID)]])])
    const path = `part-00000-${randomUUID()}.snappy.parquet`
    linkSync(join(location, shared!.path), join(location, path))
    // Each tells of other rows, as it would if it had them.
    files.push({ ...shared!, path, stats: shared!.stats.replaceAll(String(FIRST_ID), String(FIRST_ID + i)) })
  }
  await localStore(location).delete(commitPath(0n))
  return files
}

/** A table with so many files of one row, and a checkpoint of the only version. */
export async function tableOfFiles(location: string, count: number): Promise<void> {
  mkdirSync(location, { recursive: true })
  const add = await linkedFiles(location, count)
  await (await createTable(localStore(location), { schema: SCHEMA, add })).checkpoint()
}

/** A table with so many files of so many rows each, and a checkpoint of the only version. */
export async function tableOfRows(location: string, count: number, rowsEach: number): Promise<void> {
  mkdirSync(location, { recursive: true })
  const store = localStore(location)
  const table = await createTable(store, { schema: SCHEMA })
  const types = SCHEMA.map(field => field.type)
  const add: NewFile[] = []
  for (let i = 0; i < count; i++) {
    const rows = Array.from({ length: rowsEach }, (_, row) => {
      const id = BigInt(i * rowsEach + row)
      return [id, `name ${(id * 7919n) % 100_003n}`, id * 1_000_000_007n] as const
    })
    add.push(...(await writeDataFiles(table, [batchOf(types, rows)])))
  }
  await store.delete(commitPath(0n))
  await (await createTable(store, { schema: SCHEMA, add })).checkpoint()
}

/** A table with so many commits, each of which adds a file of one row, without a checkpoint. */
export async function tableOfCommits(location: string, count: number): Promise<void> {
  mkdirSync(location, { recursive: true })
  const files = await linkedFiles(location, count)
  await createTable(localStore(location), { schema: SCHEMA })
  const startMs = Date.now()
  for (const [i, file] of files.entries()) {
    const operation = { operation: 'WRITE', operationParameters: { mode: 'Append' }, engineInfo: 'posixlake/0.1.0' }
    const metrics = { numFiles: '1', numOutputRows: '1' }
    const timestamp = startMs + i
    const commit = formatCommit([
      { commitInfo: { timestamp, ...operation, operationMetrics: metrics, isBlindAppend: true, txnId: randomUUID() } },
      { add: addAction(file, timestamp) },
    ])
    writeFileSync(join(location, commitPath(BigInt(i + 1))), commit)
  }
}

/** Writes a checkpoint of the newest version. */
export async function checkpointed(location: string): Promise<void> {
  await (await openTable(localStore(location))).checkpoint()
}

/** Writes a CSV of three columns: whole numbers, short texts, and large whole numbers. Returns its size in bytes. */
export function writeCsv(path: string, rows: number): number {
  const file = openSync(path, 'w')
  writeSync(file, 'id,name,value\n')
  let text = ''
  for (let i = 0; i < rows; i++) {
    text += `${i},name ${(i * 7919) % 100_003},${1_000_000_007n * BigInt(i)}\n`
    if (text.length > 1 << 20 || i === rows - 1) {
      writeSync(file, text)
      text = ''
    }
  }
  closeSync(file)
  return statSync(path).size
}
