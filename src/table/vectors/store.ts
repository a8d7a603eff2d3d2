import { messageOf } from '../../core/errors.ts'
import { type ObjectStore, readAnew, StorageError } from '../../storage/object-store.ts'
import { TableError } from '../errors.ts'
import type { DeletionVectorDescriptor } from '../log/actions/index.ts'
import { checkFilePath, pathOf } from '../log/paths.ts'
import { shown } from '../log/shapes.ts'
import { decodeBitmap, encodeBitmap } from './bitmap.ts'
import { decodeZ85, encodeZ85 } from './z85.ts'

/** Vectors up to this many bytes stand in the log itself. */
const INLINE_BYTES_MAX = 512
const UUID_TEXT = 20
const FILE_VERSION = 1
const MESSAGE_SHOWN_MAX = 500

/**
 * Reads the deleted row numbers of a vector, ascending (PROTOCOL.md, "Deletion Vectors"). `fileRows`: how many rows its
 * data file has; `path`: that file, for messages. TableError `corrupt_log`, `missing_file`, `unsupported_feature`.
 */
export async function readVector(
  store: ObjectStore,
  descriptor: DeletionVectorDescriptor,
  fileRows: number,
  path: string,
): Promise<Uint32Array> {
  const { storageType, cardinality } = descriptor
  try {
    if (cardinality > fileRows) throw tooManyRows(cardinality, fileRows)
    const bytes = storageType === 'i' ? inlineBytes(descriptor) : await readFile(store, descriptor)
    return decodeBitmap(bytes, { cardinality, fileRows })
  } catch (cause) {
    if (cause instanceof TableError) throw cause
    const of = `${store.location}/${path}`
    if (cause instanceof StorageError && cause.code === 'not_found')
      throw new TableError(
        'missing_file',
        `${of}: its deletion vector is missing: ${shown(cause.message, MESSAGE_SHOWN_MAX)}`,
        { cause },
      )
    throw new TableError(
      'corrupt_log',
      `${of}: its deletion vector ${shown(storageType)}${shown(descriptor.pathOrInlineDv)} cannot be read: ${messageOf(cause)}`,
      { cause },
    )
  }
}

/** Returns the error of a vector that deletes more rows than there are. */
export function tooManyRows(cardinality: number, fileRows: number): Error {
  return new Error(`it deletes ${cardinality} rows, the file has ${fileRows}`)
}

function inlineBytes({ pathOrInlineDv, sizeInBytes }: DeletionVectorDescriptor): Uint8Array {
  const bytes = decodeZ85(pathOrInlineDv)
  if (bytes.length < sizeInBytes) throw new Error(`the log says ${sizeInBytes} bytes, and has ${bytes.length}`)
  return bytes.subarray(0, sizeInBytes)
}

async function readFile(store: ObjectStore, descriptor: DeletionVectorDescriptor): Promise<Uint8Array> {
  const path = vectorPath(store, descriptor)
  const start = descriptor.offset ?? 1
  const end = start + descriptor.sizeInBytes + 8
  const framed = await store.read(path, start, end)
  try {
    return framedBytes(framed, descriptor.sizeInBytes)
  } catch {
    // It may have been damaged on its way.
    return framedBytes(await readAnew(store, path, start, end), descriptor.sizeInBytes)
  }
}

/** Returns a vector that has its size in front and its checksum behind it. Error. */
function framedBytes(framed: Uint8Array, size: number): Uint8Array {
  if (framed.length !== size + 8) throw new Error('its file is cut off')
  const view = new DataView(framed.buffer, framed.byteOffset, framed.byteLength)
  if (view.getUint32(0) !== size) throw new Error(`its file says ${view.getUint32(0)} bytes, the log ${size}`)
  const bytes = framed.subarray(4, 4 + size)
  if (view.getUint32(4 + size) !== Bun.hash.crc32(bytes)) throw new Error('its checksum is wrong')
  return bytes
}

/** The file of a vector, as a path in the store. Error, TableError `unsupported_feature`. */
export function vectorFile(store: ObjectStore, descriptor: DeletionVectorDescriptor): string | undefined {
  return descriptor.storageType === 'i' ? undefined : vectorPath(store, descriptor)
}

/** As `vectorFile`, of a vector that is in a file. */
export function vectorPath({ location }: ObjectStore, descriptor: DeletionVectorDescriptor): string {
  const { storageType, pathOrInlineDv } = descriptor
  if (storageType === 'u') {
    if (pathOrInlineDv.length < UUID_TEXT) throw new Error('it names no file')
    const folder = pathOrInlineDv.slice(0, -UUID_TEXT)
    const uuid = Buffer.from(decodeZ85(pathOrInlineDv.slice(-UUID_TEXT))).toString('hex')
    const name = uuid.replace(/^(.{8})(.{4})(.{4})(.{4})(.{12})$/, 'deletion_vector_$1-$2-$3-$4-$5.bin')
    // It is a place below the table: only paths that are absolute by their type lead out of it.
    if (folder.startsWith('/')) throw new Error('its folder is not one of the table')
    return folder === '' ? name : `${folder}/${name}`
  }
  const path = pathOf(location, pathOrInlineDv)
  checkFilePath(location, pathOrInlineDv, path, 'deletion vector')
  return path
}

/** Writes vectors: small ones inline, the others together into one file, which is durable when this resolves. */
export async function writeVectors(
  store: Pick<ObjectStore, 'write'>,
  vectors: readonly Uint32Array[],
): Promise<DeletionVectorDescriptor[]> {
  const bitmaps = vectors.map(encodeBitmap)
  const uuid = crypto.randomUUID()
  const parts: Uint8Array[] = [Uint8Array.of(FILE_VERSION)]
  let at = 1
  const descriptors = bitmaps.map((bytes, i): DeletionVectorDescriptor => {
    const sizes = { sizeInBytes: bytes.length, cardinality: vectors[i]!.length }
    if (bytes.length <= INLINE_BYTES_MAX) return { storageType: 'i', pathOrInlineDv: encodeZ85(bytes), ...sizes }
    const frame = new Uint8Array(bytes.length + 8)
    const view = new DataView(frame.buffer)
    view.setUint32(0, bytes.length)
    frame.set(bytes, 4)
    view.setUint32(4 + bytes.length, Bun.hash.crc32(bytes))
    parts.push(frame)
    const offset = at
    at += frame.length
    return {
      storageType: 'u',
      pathOrInlineDv: encodeZ85(Buffer.from(uuid.replaceAll('-', ''), 'hex')),
      offset,
      ...sizes,
    }
  })
  if (parts.length > 1) await store.write(`deletion_vector_${uuid}.bin`, Buffer.concat(parts))
  return descriptors
}
