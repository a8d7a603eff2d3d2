/**
 * The places of the rows of an edit: the first `count` rows of the file stand behind physical row `row` of the file
 * `refs[ref]` (ref -1: behind the header), the rows of the next run behind the next place, and so on. Rows that no run
 * names stand at the file's own place. Only posixlake's views look at it.
 */
export interface OrderHint {
  /** Paths of files, relative to the table. */
  readonly refs: readonly string[]
  readonly runs: readonly OrderRun[]
}

export interface OrderRun {
  readonly count: number
  readonly ref: number
  readonly row: number
}

/** Gathers which rows of which files the rows of a new one are, in its order: hints say it in the same form as places. */
export class Origins {
  readonly #refs = new Map<string, number>()
  readonly #runs: OrderRun[] = []
  #rows = 0

  /** The rows that are told of. */
  get rows(): number {
    return this.#rows
  }

  get hint(): OrderHint {
    return { refs: [...this.#refs.keys()], runs: this.#runs }
  }

  /** The next rows are those with these numbers, ascending and counted from `firstRow`, of the file at `path`. */
  add(path: string, firstRow: number, rows: readonly number[]): void {
    const ref = this.#refs.get(path) ?? this.#refs.size
    this.#refs.set(path, ref)
    for (let i = 0; i < rows.length; ) {
      const start = i
      while (i < rows.length && rows[i]! - rows[start]! === i - start) i++
      this.#runs.push({ count: i - start, ref, row: firstRow + rows[start]! })
    }
    this.#rows += rows.length
  }
}

const VERSION = 1

/** A hint as text: the runs as delta-encoded varints in base64. */
export function encodeOrderHint(hint: OrderHint): string {
  const bytes: number[] = []
  const put = (value: number): void => {
    let rest = value
    while (rest > 0x7f) {
      bytes.push((rest % 128) | 0x80)
      rest = Math.floor(rest / 128)
    }
    bytes.push(rest)
  }
  let row = 0
  for (const run of hint.runs) {
    put(run.count)
    put(run.ref + 1)
    const step = run.row - row
    put(step >= 0 ? step * 2 : -step * 2 - 1)
    row = run.row
  }
  return JSON.stringify({ v: VERSION, refs: hint.refs, runs: Uint8Array.from(bytes).toBase64() })
}

/** The hint of a text, or undefined if it is none of ours: rows then stand in file order. */
export function decodeOrderHint(text: string): OrderHint | undefined {
  try {
    const json = JSON.parse(text) as { v: unknown; refs: unknown; runs: unknown }
    if (json.v !== VERSION || !Array.isArray(json.refs) || typeof json.runs !== 'string') return undefined
    const refs = json.refs.map(String)
    const runs = decodeRuns(Uint8Array.fromBase64(json.runs))
    return runs.every(run => run.ref >= -1 && run.ref < refs.length && run.row >= 0) ? { refs, runs } : undefined
  } catch {
    return undefined
  }
}

/** The paths in a tag ORDER_REFS_TAG; none where it is missing or damaged: rows then stand in file order. */
export function orderRefsOf(tag: string | undefined): readonly string[] {
  if (tag === undefined) return []
  try {
    const list: unknown = JSON.parse(tag)
    return Array.isArray(list) ? list.filter(path => typeof path === 'string') : []
  } catch {
    return []
  }
}

function decodeRuns(bytes: Uint8Array): OrderRun[] {
  const runs: OrderRun[] = []
  let at = 0
  const take = (): number => {
    let value = 0
    for (let scale = 1; ; scale *= 128) {
      const byte = bytes[at++]
      if (byte === undefined || scale > 2 ** 49) throw new Error('a number is cut off')
      value += (byte & 0x7f) * scale
      if (byte < 0x80) return checked(value)
    }
  }
  let row = 0
  while (at < bytes.length) {
    const count = take()
    const ref = take() - 1
    const step = take()
    row = checked(row + (step % 2 === 0 ? step / 2 : -(step + 1) / 2))
    runs.push({ count, ref, row })
  }
  return runs
}

function checked(value: number): number {
  if (!Number.isSafeInteger(value)) throw new Error('a number is out of range')
  return value
}
