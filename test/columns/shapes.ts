import { parseDdl } from '../../src/columns/schema.ts'
import type { Batch, Cell, DataType } from '../../src/columns/types.ts'
import { batchOf } from '../../src/columns/vectors.ts'
import { encode, Random } from './values.ts'

export const SHAPES = ['few', 'rising', 'any', 'long']

/** Values as tables have them: few or many different ones, near to one another or not. */
function cellOf(random: Random, type: DataType, shape: string, row: number): Cell {
  const number = shape === 'few' ? random.below(7) : shape === 'rising' ? row * 3 : random.below(2 ** 31)
  switch (type.kind) {
    case 'string':
      return shape === 'long' ? 'text '.repeat(random.below(400)) + number : `v${number}`
    case 'binary':
      return encode(`b${number}`)
    case 'double':
      return shape === 'few' ? -0 * (number % 2) + (number % 3) : number / 7
    case 'float':
      return Math.fround(number / 7)
    case 'long':
    case 'timestamp':
      return shape === 'long' ? BigInt(number) ** 2n : BigInt(number)
    case 'decimal':
      return BigInt(number % 1_000_000) - 500_000n
    case 'byte':
      return (number % 256) - 128
    case 'boolean':
      return number % 2 === 0
    default:
      return number
  }
}

export const SHAPED = parseDdl(
  'b:Int8,i:Int32,l:Int64,f:Float32,d:Float64,t:Timestamp,s:String,x:Binary,money:Decimal(9,2),mid:Decimal(18,3),big:Decimal(30,2),ok:Boolean,list:array<int>',
)

/** Rows of SHAPED, in pieces of different sizes: values of a shape, every so manieth NULL (0: none). */
export function shapedRows(shape: string, nulls: number): { cells: Cell[][]; pieces: Batch[] } {
  const random = new Random(7)
  const cells = Array.from({ length: 5000 }, (_, row) =>
    SHAPED.map(({ type }) => {
      if (nulls > 0 && random.below(nulls) === 0) return null
      return type.kind === 'array' ? [row] : cellOf(random, type, shape, row)
    }),
  )
  const types = SHAPED.map(({ type }) => type)
  return {
    cells,
    pieces: [0, 1, 1300, 4999].map((start, i, starts) => batchOf(types, cells.slice(start, starts[i + 1]))),
  }
}
