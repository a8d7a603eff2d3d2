import { firstIndex } from '../../core/search.ts'
import type { SameAs } from '../edits/diff.ts'
import type { Text } from '../text/text.ts'

/** The staged bytes of a save. */
export interface StagedBytes {
  /** Reads into all of `bytes` from a position on. */
  readInto(bytes: Uint8Array, position: number): void
}

/** A run of the image: of the base at the same offset, of staged bytes from `position` on, or of zeros (a hole). */
interface Span {
  readonly start: number
  readonly end: number
  readonly source: 'base' | 'staged' | 'hole'
  readonly position: number
}

/**
 * A file while it is being written: ranges of the text it was and staged bytes over them. Bytes never
 * move, as WRITE puts them at offsets; so a range of the base stands where it stood.
 */
export class ImageRope implements Text {
  readonly #base: Text
  readonly #staged: StagedBytes
  /** Without gaps, ascending. */
  readonly #spans: Span[]
  #size: number

  constructor(base: Text, staged: StagedBytes) {
    this.#base = base
    this.#staged = staged
    this.#size = base.size
    this.#spans = base.size === 0 ? [] : [{ start: 0, end: base.size, source: 'base', position: 0 }]
  }

  get size(): number {
    return this.#size
  }

  /** Puts `length` staged bytes at `offset`; a gap in front of them reads as zeros (POSIX). */
  splice(offset: number, position: number, length: number): void {
    if (length === 0) return
    if (offset > this.#size) this.truncate(offset)
    const end = offset + length
    this.#replace(offset, end, { start: offset, end, source: 'staged', position })
    this.#size = Math.max(this.#size, end)
  }

  /** Cuts the image, or lengthens it by zeros. */
  truncate(size: number): void {
    if (size < this.#size) this.#replace(size, this.#size, undefined)
    else if (size > this.#size) this.#spans.push({ start: this.#size, end: size, source: 'hole', position: 0 })
    this.#size = size
  }

  read(start: number, end: number): Promise<Uint8Array> {
    return this.peek(start, end, undefined)
  }

  async peek(start: number, end: number, buffer: Uint8Array | undefined): Promise<Uint8Array> {
    const only = this.#spans[this.#spanAt(start)]
    if (only?.source === 'base' && only.end >= end) return this.#base.read(start, end)
    const bytes = buffer?.subarray(0, end - start) ?? new Uint8Array(end - start)
    const others: { readonly at: number; readonly part: Promise<Uint8Array> }[] = []
    // Staged bytes are read before anything is awaited: the journal may be gone afterwards.
    for (let i = this.#spanAt(start); i < this.#spans.length; i++) {
      const span = this.#spans[i]!
      if (span.start >= end) break
      const from = Math.max(start, span.start)
      const to = Math.min(end, span.end)
      const own = bytes.subarray(from - start, to - start)
      if (span.source === 'base') others.push({ at: from - start, part: this.#base.read(from, to) })
      else if (span.source === 'hole') own.fill(0)
      else this.#staged.readInto(own, span.position + from - span.start)
    }
    const parts = await Promise.all(others.map(({ part }) => part))
    for (const [i, part] of parts.entries()) bytes.set(part, others[i]!.at)
    return bytes
  }

  /** Ranges that were written, neighbours joined. */
  changedRanges(): { start: number; end: number }[] {
    const ranges: { start: number; end: number }[] = []
    for (const { start, end, source } of this.#spans) {
      if (source === 'base') continue
      const last = ranges.at(-1)
      if (last?.end === start) last.end = end
      else ranges.push({ start, end })
    }
    return ranges
  }

  /** The first bytes that nobody wrote, if there are any, as where the pages of a save come in another order. */
  firstHole(): { start: number; end: number } | undefined {
    return this.#spans.find(({ source }) => source === 'hole')
  }

  /** True if bytes were written that still stand. */
  get hasWritten(): boolean {
    return this.#spans.some(({ source }) => source === 'staged')
  }

  /** Ranges that need no comparison. */
  sameAs(): SameAs[] {
    return this.#spans
      .filter(({ source }) => source === 'base')
      .map(({ start, end }) => ({ imageStart: start, baseStart: start, length: end - start }))
  }

  #replace(start: number, end: number, by: Span | undefined): void {
    const first = this.#spanAt(start)
    let last = first
    while (last < this.#spans.length && this.#spans[last]!.start < end) last++
    const kept: Span[] = []
    const before = this.#spans[first]
    if (before !== undefined && before.start < start) kept.push({ ...before, end: start })
    if (by !== undefined) kept.push(by)
    const after = this.#spans[last - 1]
    if (last > first && after !== undefined && after.end > end) {
      kept.push({ ...after, start: end, position: after.position + end - after.start })
    }
    this.#spans.splice(first, last - first, ...kept)
  }

  /** The first span that ends behind `offset`. */
  #spanAt(offset: number): number {
    return firstIndex(this.#spans.length, i => this.#spans[i]!.end > offset)
  }
}
