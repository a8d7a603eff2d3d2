import { discarded } from '../../core/garbage.ts'
import type { ByteRange, TableText } from '../text/layout.ts'
import { nearReads, type Text } from '../text/text.ts'
import { bareLine } from './columns.ts'
import { eachRow } from './multiset.ts'
import { PIECE_BYTES } from './pieces.ts'

/** Ranges of rows without those that are a header once more, as in `cat a.csv b.csv > data.csv` and `cat b.csv >> data.csv`. */
export async function withoutHeaders<R extends ByteRange>(
  base: TableText,
  image: Text,
  ranges: readonly R[],
  headerLines: readonly Uint8Array[],
): Promise<R[]> {
  const headers = headerLines.map(line => Buffer.from(bareLine(line))).filter(header => header.length > 0)
  const { cut } = base.format
  const source = nearReads(image)
  const left: R[] = []
  for (const range of ranges) {
    if (!(await occursAny(source, range, headers))) {
      left.push(range)
      continue
    }
    let { start } = range
    await eachRow(image, [range], cut, (_row, bytes, from, to, at) => {
      const row = bareLine(bytes.subarray(from, to))
      if (!headers.some(header => Buffer.compare(row, header) === 0)) return
      if (start < at + from) left.push({ ...range, start, end: at + from })
      start = at + to
    })
    if (start < range.end) left.push({ ...range, start })
  }
  return left
}

/** True if one of some byte strings occurs in a range at all, which is quickly found out. */
export async function occursAny(text: Text, { start, end }: ByteRange, lines: readonly Buffer[]): Promise<boolean> {
  const longest = Math.max(0, ...lines.map(line => line.length))
  if (longest === 0) return false
  for (let at = start; at < end; at += PIECE_BYTES) {
    const block = await text.read(at, Math.min(end, at + PIECE_BYTES + longest))
    const bytes = Buffer.from(block.buffer, block.byteOffset, block.length)
    if (lines.some(line => bytes.includes(line))) return true
    discarded(block.length)
  }
  return false
}
