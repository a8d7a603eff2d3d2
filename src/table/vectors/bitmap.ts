/** PROTOCOL.md, "Deletion Vector Format": 64-bit roaring bitmaps. */
const MAGIC = 1_681_511_377
const MAGIC_BIG_ENDIAN = 1_681_511_376
const COOKIE_NO_RUNS = 12_346
const COOKIE_RUNS = 12_347
/** With the run cookie the offsets are there only from this many containers on. */
const OFFSETS_FROM = 4
const ARRAY_MAX = 4096
const BITMAP_BYTES = 8192

/** The facts that are known of a vector before its bitmap is read. */
export interface Announced {
  /** The number of rows that are deleted. */
  readonly cardinality: number
  /** The number of rows of the data file. */
  readonly fileRows: number
}

/**
 * Reads the row numbers of a bitmap, ascending. Throws Error with what is wrong. A few bytes can announce billions of
 * rows: what they announce is compared with what is known before anything is made of it.
 */
export function decodeBitmap(bytes: Uint8Array, announced: Announced): Uint32Array {
  if (announced.cardinality > announced.fileRows)
    throw new Error(`${announced.cardinality} rows are announced, the file has ${announced.fileRows}`)
  const reader = new Reader(bytes)
  const magic = reader.u32()
  if (magic === MAGIC) return decodePortable(reader, announced)
  reader.at = 0
  if (reader.u32BigEndian() === MAGIC_BIG_ENDIAN) return decodeBigEndian(reader, announced)
  throw new Error(`the magic number ${magic} is unknown`)
}

function decodePortable(reader: Reader, announced: Announced): Uint32Array {
  const count = reader.u64()
  if (count === 0) return noRows(announced)
  // Keys ascend from bitmap to bitmap, so that a second one could only mark later rows.
  if (reader.u32() !== 0 || count > 1) throw new Error('it marks rows beyond 4,294,967,296')
  return decodeRoaring(reader, announced)
}

/** The older form: the bitmaps stand in a dense array, of which ours is the first, and sizes are big-endian. */
function decodeBigEndian(reader: Reader, announced: Announced): Uint32Array {
  const count = reader.u32BigEndian()
  if (count === 0) return noRows(announced)
  const first = decodeRoaring(new Reader(reader.take(reader.u32BigEndian())), announced)
  for (let i = 1; i < count; i++)
    decodeRoaring(new Reader(reader.take(reader.u32BigEndian())), { cardinality: 0, fileRows: 0 })
  return first
}

function noRows(announced: Announced): Uint32Array {
  checkCount(0, announced)
  return new Uint32Array(0)
}

function checkCount(count: number, announced: Announced): void {
  if (count !== announced.cardinality)
    throw new Error(`it has ${count} rows where ${announced.cardinality} are announced`)
}

interface Container {
  /** The upper 16 bits of its rows. */
  readonly key: number
  readonly cardinality: number
  readonly isRun: boolean
}

function decodeRoaring(reader: Reader, announced: Announced): Uint32Array {
  const containers = readHeaders(reader)
  const count = containers.reduce((sum, { cardinality }) => sum + cardinality, 0)
  checkCount(count, announced)
  const rows = new Uint32Array(count)
  let at = 0
  for (const container of containers) {
    const end = at + container.cardinality
    const filled = readContainer(reader, container, rows, at)
    if (filled !== end) throw new Error(`a container has ${filled - at} rows where ${end - at} are announced`)
    at = end
  }
  for (let i = 1; i < rows.length; i++) if (rows[i]! <= rows[i - 1]!) throw new Error('its rows are not in order')
  const last = rows.at(-1)
  if (last !== undefined && last >= announced.fileRows)
    throw new Error(`it marks row ${last}, the file has ${announced.fileRows}`)
  return rows
}

function readHeaders(reader: Reader): Container[] {
  const cookie = reader.u32()
  const withRuns = (cookie & 0xffff) === COOKIE_RUNS
  if (!withRuns && cookie !== COOKIE_NO_RUNS) throw new Error(`the cookie ${cookie} is unknown`)
  const count = withRuns ? (cookie >>> 16) + 1 : reader.u32()
  if (count > 65_536) throw new Error(`it announces ${count} containers`)
  const runs = withRuns ? reader.take(Math.ceil(count / 8)) : undefined
  const containers: Container[] = []
  for (let i = 0; i < count; i++) {
    const isRun = runs !== undefined && ((runs[i >> 3]! >> (i & 7)) & 1) === 1
    containers.push({ key: reader.u16(), cardinality: reader.u16() + 1, isRun })
  }
  if (!withRuns || count >= OFFSETS_FROM) reader.take(count * 4)
  return containers
}

/** Fills in the rows of a container from index `at` on; returns the index behind them. */
function readContainer(reader: Reader, container: Container, rows: Uint32Array, at: number): number {
  const { key, cardinality, isRun } = container
  const base = key * 65_536
  if (isRun) return readRuns(reader, base, cardinality, rows, at)
  return cardinality <= ARRAY_MAX
    ? readArray(reader, base, cardinality, rows, at)
    : readBits(reader, base, cardinality, rows, at)
}

function readArray(reader: Reader, base: number, count: number, rows: Uint32Array, at: number): number {
  for (let i = 0; i < count; i++) rows[at++] = base + reader.u16()
  return at
}

/** Runs may overlap in damaged bytes: they are followed no further than the container's rows go. */
function readRuns(reader: Reader, base: number, count: number, rows: Uint32Array, at: number): number {
  const runs = reader.u16()
  const end = at + count
  for (let run = 0; run < runs; run++) {
    const start = reader.u16()
    const length = reader.u16() + 1
    if (start + length > 65_536) throw new Error('a run leaves its container')
    if (at + length > end) throw new Error(`a container has more than the ${count} rows that are announced`)
    for (let i = 0; i < length; i++) rows[at++] = base + start + i
  }
  return at
}

function readBits(reader: Reader, base: number, count: number, rows: Uint32Array, at: number): number {
  const bits = reader.take(BITMAP_BYTES)
  const end = at + count
  for (let i = 0; i < BITMAP_BYTES; i++) {
    for (let byte = bits[i]!, bit = 0; byte !== 0; byte >>= 1, bit++) {
      if ((byte & 1) === 0) continue
      if (at === end) throw new Error(`a container has more than the ${count} rows that are announced`)
      rows[at++] = base + i * 8 + bit
    }
  }
  return at
}

/** The bitmap of ascending row numbers, as other engines read it. */
export function encodeBitmap(rows: Uint32Array): Uint8Array {
  const containers: { key: number; start: number; end: number; runs: number }[] = []
  for (let at = 0; at < rows.length; ) {
    const key = Math.floor(rows[at]! / 65_536)
    const start = at
    let runs = 0
    while (at < rows.length && Math.floor(rows[at]! / 65_536) === key) {
      if (at === start || rows[at] !== rows[at - 1]! + 1) runs++
      at++
    }
    containers.push({ key, start, end: at, runs })
  }
  const plain = containers.map(({ start, end }) => (end - start <= ARRAY_MAX ? 2 * (end - start) : BITMAP_BYTES))
  const asRun = containers.map(({ runs }, i) => 2 + 4 * runs < plain[i]!)
  const withRuns = asRun.includes(true)
  const sizes = containers.map(({ runs }, i) => (asRun[i] ? 2 + 4 * runs : plain[i]!))
  const withOffsets = !withRuns || containers.length >= OFFSETS_FROM
  const head =
    (withRuns ? 4 + Math.ceil(containers.length / 8) : 8) +
    4 * containers.length +
    (withOffsets ? 4 * containers.length : 0)
  const writer = new Writer(4 + 8 + 4 + head + sizes.reduce((sum, size) => sum + size, 0))
  writer.u32(MAGIC)
  writer.u32(1)
  writer.u32(0)
  writer.u32(0)
  if (withRuns) {
    writer.u32((COOKIE_RUNS | ((containers.length - 1) << 16)) >>> 0)
    const flags = new Uint8Array(Math.ceil(containers.length / 8))
    for (const [i, run] of asRun.entries()) if (run) flags[i >> 3]! |= 1 << (i & 7)
    writer.bytes(flags)
  } else {
    writer.u32(COOKIE_NO_RUNS)
    writer.u32(containers.length)
  }
  for (const { key, start, end } of containers) {
    writer.u16(key)
    writer.u16(end - start - 1)
  }
  let offset = head
  for (const size of withOffsets ? sizes : []) {
    writer.u32(offset)
    offset += size
  }
  for (const [i, container] of containers.entries())
    writeContainer(writer, rows.subarray(container.start, container.end), container, asRun[i]!)
  return writer.out
}

function writeContainer(writer: Writer, rows: Uint32Array, { runs }: { runs: number }, asRun: boolean): void {
  if (asRun) {
    writer.u16(runs)
    for (let at = 0; at < rows.length; ) {
      const start = at
      while (at + 1 < rows.length && rows[at + 1] === rows[at]! + 1) at++
      writer.u16(rows[start]! & 0xffff)
      writer.u16(at - start)
      at++
    }
  } else if (rows.length <= ARRAY_MAX) {
    for (const row of rows) writer.u16(row & 0xffff)
  } else {
    const bits = new Uint8Array(BITMAP_BYTES)
    for (const row of rows) bits[(row & 0xffff) >> 3]! |= 1 << (row & 7)
    writer.bytes(bits)
  }
}

class Reader {
  at = 0
  readonly #bytes: Uint8Array
  readonly #view: DataView

  constructor(bytes: Uint8Array) {
    this.#bytes = bytes
    this.#view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength)
  }

  take(count: number): Uint8Array {
    if (this.at + count > this.#bytes.length) throw new Error('it is cut off')
    this.at += count
    return this.#bytes.subarray(this.at - count, this.at)
  }

  u16(): number {
    this.take(2)
    return this.#view.getUint16(this.at - 2, true)
  }

  u32(): number {
    this.take(4)
    return this.#view.getUint32(this.at - 4, true)
  }

  u32BigEndian(): number {
    this.take(4)
    return this.#view.getUint32(this.at - 4)
  }

  u64(): number {
    const low = this.u32()
    if (this.u32() !== 0) throw new Error('it announces more bitmaps than there can be')
    return low
  }
}

class Writer {
  readonly out: Uint8Array
  readonly #view: DataView
  #at = 0

  constructor(size: number) {
    this.out = new Uint8Array(size)
    this.#view = new DataView(this.out.buffer)
  }

  u16(value: number): void {
    this.#view.setUint16(this.#at, value, true)
    this.#at += 2
  }

  u32(value: number): void {
    this.#view.setUint32(this.#at, value, true)
    this.#at += 4
  }

  bytes(bytes: Uint8Array): void {
    this.out.set(bytes, this.#at)
    this.#at += bytes.length
  }
}
