import type { Cell } from '../types.ts'
import { BOOLEAN, type Compiled, INTEGER, mapped, mapped2, STRING } from './compiled.ts'
import { unsupported } from './errors.ts'
import type { Functions } from './functions.ts'
import { inOneType, ofKind, sameAs } from './operators.ts'

function text(compiled: Compiled): Compiled {
  return ofKind(compiled, 'a text', 'string', 'void')
}

function whole(compiled: Compiled): Compiled {
  return ofKind(compiled, 'a whole number', 'byte', 'short', 'integer')
}

function ofText(convert: (cell: string) => Cell, type = STRING) {
  return (compiled: Compiled): Compiled => mapped<string>(text(compiled), type, convert)
}

function ofTexts(convert: (a: string, b: string) => Cell, type = BOOLEAN) {
  return (a: Compiled, b: Compiled): Compiled => mapped2<string, string>(text(a), text(b), type, convert)
}

/** Characters are those of Unicode. */
function characters(cell: string): string[] {
  return [...cell]
}

const length = ofText(cell => characters(cell).length, INTEGER)
const upper = ofText(cell => cell.toUpperCase())
const lower = ofText(cell => cell.toLowerCase())

/** The first character is number 1, and also number 0; numbers below that count from the end. */
function substring(value: Compiled, start: Compiled, count?: Compiled): Compiled {
  const [cell, from, many] = [text(value), whole(start), count === undefined ? undefined : whole(count)]
  return {
    type: STRING,
    value: () => {
      const [all, at, most] = [cell.value(), from.value(), many === undefined ? Number.POSITIVE_INFINITY : many.value()]
      if (all === null || at === null || most === null) return null
      const chars = characters(all as string)
      const first = (at as number) > 0 ? (at as number) - 1 : (at as number) < 0 ? chars.length + (at as number) : 0
      const end = first + (most as number)
      return end <= first ? '' : chars.slice(Math.max(0, first), Math.max(0, end)).join('')
    },
  }
}

function replaced(...all: readonly Compiled[]): Compiled {
  const [value, from, to] = all.map(text)
  return {
    type: STRING,
    value: () => {
      const [cell, search, other] = [value!.value(), from!.value(), to!.value()]
      if (cell === null || search === null || other === null) return null
      return search === '' ? cell : (cell as string).replaceAll(search as string, () => other as string)
    },
  }
}

function concatenated(...all: readonly Compiled[]): Compiled {
  const texts = all.map(text)
  return {
    type: STRING,
    value: () => {
      let joined = ''
      for (const { value } of texts) {
        const cell = value()
        if (cell === null) return null
        joined += cell as string
      }
      return joined
    },
  }
}

function firstOf(...all: readonly Compiled[]): Compiled {
  if (all.length === 0) throw unsupported('coalesce of nothing')
  const options = inOneType(all)
  const value = (): Cell => {
    for (const option of options) {
      const cell = option.value()
      if (cell !== null) return cell
    }
    return null
  }
  return { type: options[0]!.type, value }
}

function nullIf(a: Compiled, b: Compiled): Compiled {
  const same = sameAs(a, b)
  return { type: a.type, value: () => (same.value() === true ? null : a.value()) }
}

export const TEXTS: Functions = {
  length,
  len: length,
  char_length: length,
  character_length: length,
  upper,
  ucase: upper,
  lower,
  lcase: lower,
  // Blanks only, no other space.
  trim: ofText(cell => cell.replace(/^ +| +$/g, '')),
  ltrim: ofText(cell => cell.replace(/^ +/, '')),
  rtrim: ofText(cell => cell.replace(/ +$/, '')),
  substring,
  substr: substring,
  left: (value, count) =>
    mapped2<string, number>(text(value), whole(count), STRING, (cell, many) =>
      characters(cell).slice(0, Math.max(0, many)).join(''),
    ),
  right: (value, count) =>
    mapped2<string, number>(text(value), whole(count), STRING, (cell, many) =>
      many <= 0 ? '' : characters(cell).slice(-many).join(''),
    ),
  replace: (value, from, to) => replaced(value, from, to),
  concat: concatenated,
  '||': concatenated,
  startswith: ofTexts((a, b) => a.startsWith(b)),
  endswith: ofTexts((a, b) => a.endsWith(b)),
  contains: ofTexts((a, b) => a.includes(b)),
  instr: ofTexts((a, b) => characters(a.slice(0, a.indexOf(b) + 1)).length, INTEGER),
  coalesce: firstOf,
  ifnull: (a, b) => firstOf(a, b),
  nvl: (a, b) => firstOf(a, b),
  nullif: nullIf,
}
