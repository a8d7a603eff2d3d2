import { describe, expect, test } from 'bun:test'
import { ParquetError, TextError } from '../../src/columns/errors.ts'
import { type ObjectStore, StorageError } from '../../src/storage/object-store.ts'
import { TableError } from '../../src/table/errors.ts'
import type { DeletionVectorDescriptor } from '../../src/table/log/actions/index.ts'
import { checkpointPath, commitPath, LAST_CHECKPOINT } from '../../src/table/log/paths.ts'
import { fileTextSizes, type Snapshot } from '../../src/table/snapshot.ts'
import { openTable } from '../../src/table/table.ts'
import { decodeBitmap, encodeBitmap } from '../../src/table/vectors/bitmap.ts'
import { readVector, writeVectors } from '../../src/table/vectors/store.ts'
import { damaged, interesting } from '../helpers/damage.ts'
import { memoryStore } from '../helpers/memory-store.ts'
import { seeded } from '../nfs/random.ts'
import { append, commitLines, foreignTable, remove } from './fixture.ts'

/*
 * Damaged logs and vectors: each is read right, or refused in a sentence, and nothing takes more memory than it has bytes.
 * CASES=1000000 SEED=7 bun test test/table/fuzz.test.ts tries more, or others; a failure names its seed.
 */
type Random = ReturnType<typeof seeded>

const CASES = Number(process.env['CASES'] ?? 10_000)
const SEED = Number(process.env['SEED'] ?? 1)
const TIMEOUT_MS = Math.max(60_000, CASES * 10)

const encoder = new TextEncoder()

const VALUES: readonly (() => unknown)[] = [
  () => null,
  () => '',
  () => 'a%20b',
  () => '%',
  () => '../x',
  () => 'file:///etc/passwd',
  () => '/',
  () => -1,
  () => 0,
  () => 2 ** 53,
  () => 1e308,
  () => 0.5,
  () => true,
  () => [],
  () => ({}),
  () => [[[]]],
  () => ({ numRecords: -1 }),
  () => '{"numRecords":99999999999999999999}',
  () => '{"numRecords":4294967295}',
  () => '\0',
  () => 'x'.repeat(5000),
]

/** A line of JSON with one value, somewhere in it, exchanged for another, taken out or put in twice. */
function twisted(line: string, random: Random): string {
  const root = JSON.parse(line) as Record<string, unknown>
  const places: [Record<string, unknown>, string][] = []
  const walk = (value: unknown): void => {
    if (typeof value !== 'object' || value === null) return
    for (const [key, inner] of Object.entries(value)) {
      places.push([value as Record<string, unknown>, key])
      walk(inner)
    }
  }
  walk(root)
  const [object, key] = places[random.below(places.length)]!
  const kind = random.below(4)
  if (kind === 0) delete object[key]
  else if (kind === 1) object[`${key}x`] = object[key]
  else object[key] = VALUES[random.below(VALUES.length)]!()
  return JSON.stringify(root)
}

function damagedCommit(bytes: Uint8Array, random: Random): Uint8Array {
  if (random.below(4) === 0) return damaged(bytes, random)
  const lines = new TextDecoder().decode(bytes).trimEnd().split('\n')
  const at = random.below(lines.length)
  const kind = random.below(8)
  if (kind === 0) lines.splice(at, 1)
  else if (kind === 1) lines.splice(at, 0, lines[random.below(lines.length)]!)
  else if (kind === 2)
    lines[at] = lines[at]!.replace(/\d+/g, digits =>
      random.below(2) === 0 ? digits : `${digits}${'9'.repeat(random.below(30))}`,
    )
  else lines[at] = twisted(lines[at]!, random)
  return encoder.encode(lines.join('\n'))
}

/** A table with appends, vectors of every kind, a checkpoint and what other writers put into a log. */
async function original(): Promise<Map<string, Uint8Array>> {
  const store = memoryStore()
  await foreignTable(store, {
    protocol: {
      minReaderVersion: 3,
      minWriterVersion: 7,
      readerFeatures: ['deletionVectors'],
      writerFeatures: ['deletionVectors'],
    },
    metaData: { configuration: { 'delta.enableDeletionVectors': 'true' }, partitionColumns: [] },
  })
  const table = await openTable(store)
  await append(table, 0, 10)
  await append(table, 10, 3000)
  await remove(table, 0, [1, 5])
  await remove(
    table,
    1,
    Array.from({ length: 1400 }, (_, i) => i * 2),
  )
  await commitLines(store, 5n, [
    { txn: { appId: 'a', version: 1, lastUpdated: 1 } },
    { domainMetadata: { domain: 'd', configuration: '{}', removed: false } },
  ])
  await table.refresh()
  await table.checkpoint()
  await append(table, 3000, 3001)
  await remove(table, 2, [0])
  await table.close()
  const files = new Map<string, Uint8Array>()
  for (const { path } of await store.list('')) files.set(path, await store.read(path))
  return files
}

async function storeOf(files: ReadonlyMap<string, Uint8Array>): Promise<ObjectStore> {
  const store = memoryStore()
  for (const [path, bytes] of files) await store.write(path, bytes)
  return store
}

/** Whether an error is one of those that end in a sentence for the user. */
function isSentence(error: unknown): boolean {
  const isOurs =
    error instanceof TableError ||
    error instanceof ParquetError ||
    error instanceof StorageError ||
    error instanceof TextError
  return isOurs && error.message.length < 12_000
}

async function sentenceOr<T>(run: () => Promise<T>): Promise<T | undefined> {
  try {
    return await run()
  } catch (error) {
    if (!isSentence(error)) throw error
    return undefined
  }
}

/** What a version is made of, by all that views and engines ask of it. */
function essence({ version, metadata, live, files, state }: Snapshot): string {
  return JSON.stringify({
    version: String(version),
    metadata: { ...metadata, action: metadata.action.schemaString, configuration: [...metadata.configuration].sort() },
    files: files.map(file => [
      file.key,
      file.sizeBytes,
      file.rows ?? null,
      file.orderRefs,
      fileTextSizes(file) ?? null,
      live.get(file.path) === file,
    ]),
    state: [[...state.txns.keys()], [...state.domains.keys()]],
  })
}

async function lookedAt(store: ObjectStore): Promise<string> {
  const table = await sentenceOr(() => openTable(store))
  if (table === undefined) return 'refused'
  for (const file of table.snapshot.files) {
    const rows = await sentenceOr(() => table.deletedRows(file))
    if (rows !== undefined && file.rows !== undefined) expect((rows.at(-1) ?? -1) < file.rows).toBe(true)
  }
  await table.close()
  return essence(table.snapshot)
}

describe('a damaged log', () => {
  test(
    `is read right or refused in a sentence (${CASES} cases from seed ${SEED})`,
    async () => {
      const files = await original()
      const logs = [...files.keys()].filter(path => path.includes('_delta_log'))
      const counts = { refused: 0, opened: 0 }
      for (let seed = SEED; seed < SEED + CASES; seed++) {
        const random = seeded(seed)
        const path = logs[random.below(logs.length)]!
        const bytes = files.get(path)!
        const now = new Map(files)
        if (random.below(40) === 0) now.delete(path)
        else now.set(path, path.endsWith('.json') ? damagedCommit(bytes, random) : damaged(bytes, random))
        if (random.below(2) === 0) now.delete(random.below(2) === 0 ? LAST_CHECKPOINT : checkpointPath(5n))
        try {
          const store = await storeOf(now)
          const said = await lookedAt(store)
          counts[said === 'refused' ? 'refused' : 'opened']++
          if (said === 'refused' || random.below(10) > 0) continue
          // What can be read can be written down and read again.
          const table = await openTable(store)
          await table.checkpoint()
          for (let version = 0n; version < table.snapshot.version; version++) await store.delete(commitPath(version))
          expect(essence((await openTable(store)).snapshot)).toBe(essence(table.snapshot))
        } catch (error) {
          throw new Error(`seed ${seed}, ${path}`, { cause: error })
        }
      }
      if (CASES > 10_000) process.stdout.write(`${JSON.stringify(counts)}\n`)
      expect(counts.refused).toBeGreaterThan(CASES / 20)
      expect(counts.opened).toBeGreaterThan(CASES / 20)
    },
    TIMEOUT_MS,
  )
})

function randomRows(random: Random): Uint32Array {
  const most = [10, 1000, 70_000, 300_000][random.below(4)]!
  const rows = new Set<number>()
  for (let i = random.below(6); i > 0; i--) {
    const start = random.below(most)
    const length = random.below(3) === 0 ? random.below(5000) : 1 + random.below(3)
    const step = 1 + random.below(3)
    for (let k = 0; k < length; k++) rows.add(start + k * step)
  }
  return Uint32Array.from([...rows].sort((a, b) => a - b))
}

describe('a damaged deletion vector', () => {
  test(
    `is refused, or marks as many rows as the log says, in order, in its file (${CASES} cases from seed ${SEED})`,
    async () => {
      const counts = { refused: 0, read: 0 }
      for (let seed = SEED; seed < SEED + CASES; seed++) {
        const random = seeded(seed)
        const rows = randomRows(random)
        const fileRows = random.below(4) === 0 ? random.below(400_000) : 400_000
        const cardinality = random.below(8) === 0 ? interesting(random) : rows.length
        try {
          const decoded = decodeBitmap(damaged(encodeBitmap(rows), random), { cardinality, fileRows })
          expect(decoded.length).toBe(cardinality)
          expect(decoded.every((row, i) => row < fileRows && (i === 0 || row > decoded[i - 1]!))).toBe(true)
          counts.read++
        } catch (error) {
          if (Object.getPrototypeOf(error) !== Error.prototype) throw new Error(`seed ${seed}`, { cause: error })
          counts.refused++
        }
      }
      if (CASES > 10_000) process.stdout.write(`${JSON.stringify(counts)}\n`)
      expect(counts.refused).toBeGreaterThan(CASES / 4)
    },
    TIMEOUT_MS,
  )

  test(
    `is told from a right one by its place in the log, or its checksum (${CASES / 10} cases from seed ${SEED})`,
    async () => {
      for (let seed = SEED; seed < SEED + CASES / 10; seed++) {
        const random = seeded(seed)
        const store = memoryStore()
        const rows = randomRows(random)
        const [right] = (await writeVectors(store, [rows, Uint32Array.from({ length: 4000 }, (_, i) => i * 3)]))!
        let descriptor: DeletionVectorDescriptor = right!
        const [file] = await store.list('')
        const kind = random.below(3)
        if (kind === 0 && file !== undefined) await store.write(file.path, damaged(await store.read(file.path), random))
        else descriptor = JSON.parse(twisted(JSON.stringify(right), random)) as DeletionVectorDescriptor
        try {
          const read = await sentenceOr(() => readVector(store, descriptor, 400_000, 'a.parquet'))
          if (kind === 0 && read !== undefined) expect(read).toEqual(rows)
        } catch (error) {
          // Members of the wrong type are refused before anybody asks for the vector.
          const { storageType, pathOrInlineDv, sizeInBytes, cardinality, offset = 0 } = descriptor
          const isTyped =
            typeof storageType === 'string' &&
            typeof pathOrInlineDv === 'string' &&
            [sizeInBytes, cardinality, offset ?? 0].every(number => Number.isSafeInteger(number) && number >= 0)
          if (isTyped) throw new Error(`seed ${seed}`, { cause: error })
        }
      }
    },
    TIMEOUT_MS,
  )
})
