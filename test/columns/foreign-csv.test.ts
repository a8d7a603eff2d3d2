import { describe, expect, test } from 'bun:test'
import { TextError } from '../../src/columns/errors.ts'
import { parseDdl } from '../../src/columns/schema.ts'
import { parseCsv } from '../../src/columns/text/csv.ts'
import { type Dialect, ForeignCsv, isPlain, RFC_4180 } from '../../src/columns/text/foreign-csv.ts'
import { decode, encode, Random } from './values.ts'

const QUOTED_BY_APOSTROPHES: Dialect = { ...RFC_4180, quote: "'", escape: "'" }
const BACKSLASHES: Dialect = { ...RFC_4180, escape: '\\' }
const COMMENTS: Dialect = { ...RFC_4180, delimiter: '||', comment: '#' }

/** A text rewritten in pieces of so many bytes, with the line of each row. */
function rewritten(
  text: string,
  dialect: Dialect,
  pieceBytes = Number.POSITIVE_INFINITY,
): { text: string; lines: number[] } {
  const bytes = encode(text)
  const csv = new ForeignCsv(dialect)
  let out = ''
  const lines: number[] = []
  for (let at = 0; at < Math.max(1, bytes.length); at += pieceBytes) {
    const piece = csv.rewrite(bytes.slice(at, at + pieceBytes), at + pieceBytes >= bytes.length)
    out += decode(piece.bytes)
    lines.push(...piece.lines)
  }
  return { text: out, lines }
}

function refusal(text: string, dialect: Dialect, pieceBytes?: number): { code: string; line: number; message: string } {
  try {
    rewritten(text, dialect, pieceBytes)
  } catch (error) {
    if (error instanceof TextError) return { code: error.code, line: error.line!, message: error.message }
    throw error
  }
  throw new Error('it was taken')
}

describe('CSV of other programs', () => {
  test('is rewritten from its quotes, escapes, comments and delimiters', () => {
    expect(rewritten(`1,'it''s','a,b',"x"\n`, QUOTED_BY_APOSTROPHES).text).toBe(`1,it's,"a,b","""x"""\n`)
    expect(rewritten('"say \\"hi\\"","two\nlines",c:\\d\n', BACKSLASHES).text).toBe('"say ""hi""","two\nlines",c:\\d\n')
    expect(rewritten('# made by x\na||b|c||"d||e"\n#1||2||3\n1||2||3', COMMENTS).text).toBe('a,b|c,d||e\n1,2,3\n')
    expect(rewritten('5" pipe\t"\n', { ...RFC_4180, delimiter: '\t', quote: '' }).text).toBe('"5"" pipe",""""\n')
  })

  test('keeps NULL and the empty text apart, whatever stands around them', () => {
    expect(rewritten(`,'',a\n'',,''\n'x''',  ,''  ,\n`, QUOTED_BY_APOSTROPHES).text).toBe(`,"",a\n"",,""\nx',  ,"",\n`)
    expect(rewritten(`"a\\"b","",\n`, BACKSLASHES).text).toBe('"a""b","",\n')
    expect(rewritten(`""\n\n`, { ...RFC_4180, comment: '#' }).text).toBe('""\n\n')
  })

  test('may end its lines in CR LF, and a text may end in CR', () => {
    expect(rewritten(`1,'a'\r\n2,b\r\n3,'c\r'\r\n4,\r\n`, QUOTED_BY_APOSTROPHES).text).toBe('1,a\n2,b\n3,"c\r"\n4,\n')
    expect(rewritten(`1,5'\r\n`, QUOTED_BY_APOSTROPHES).text).toBe("1,5'\n")
  })

  test('has its byte-order mark in front, and others are text', () => {
    expect(rewritten('\ufeffa||b\n\ufeff1||2\n', COMMENTS, 3).text).toBe('a,b\n\ufeff1,2\n')
  })

  test('tells the line of each row, over comments and rows of several lines', () => {
    const text = '# one\n# two\na||b\n\n"x\ny"||1\n# three\n2||3\n'
    expect(rewritten(text, COMMENTS)).toEqual({ text: 'a,b\n\n"x\ny",1\n2,3\n', lines: [3, 4, 5, 6, 8] })
    const { bytes, lines } = new ForeignCsv(COMMENTS).rewrite(encode(text.slice(text.indexOf('"'))), true)
    const schema = parseDdl('s:String,n:Int64')
    expect(parseCsv(bytes, schema, { lines }).rows).toBe(2)
    const wrong = new ForeignCsv(COMMENTS).rewrite(encode('x||1\n# no row\ny||z\n'), true)
    expect(() => parseCsv(wrong.bytes, schema, { lines: wrong.lines })).toThrow('line 3, column n')
  })

  test('is the same in pieces of any size', () => {
    const random = new Random(5)
    const parts = ['a', "''", "'", '\\', ',', '||', '\n', '\r\n', '#', '"', 'ü€', "'x\ny'", ' ', "'',"]
    for (const dialect of [QUOTED_BY_APOSTROPHES, BACKSLASHES, COMMENTS, { ...COMMENTS, quote: '' }]) {
      for (let round = 0; round < 200; round++) {
        const text = Array.from({ length: random.below(40) }, () => random.of(parts)).join('')
        const whole = outcome(() => rewritten(text, dialect))
        for (const size of [1, 2, 7, 30])
          expect([text, outcome(() => rewritten(text, dialect, size))]).toEqual([text, whole])
      }
    }
  })

  test('that is not whole is refused with its line', () => {
    for (const size of [4, Number.POSITIVE_INFINITY]) {
      expect(refusal(`a,b\n1,'x\n2,y\n`, QUOTED_BY_APOSTROPHES, size)).toMatchObject({ code: 'unterminated', line: 2 })
      expect(refusal(`a,b\n\n1,'x'y\n2,z\n`, QUOTED_BY_APOSTROPHES, size)).toEqual({
        code: 'malformed_text',
        line: 3,
        message: 'line 3: "," or the end of the line behind the closing quote is expected',
      })
    }
  })

  test('that is not UTF-8 is refused with its line', () => {
    const bytes = Buffer.concat([encode('a||b\n# x\n1||'), Uint8Array.of(0xff), encode('\n')])
    for (const size of [3, 100]) {
      const csv = new ForeignCsv(COMMENTS)
      expect(() => {
        for (let at = 0; at < bytes.length; at += size)
          csv.rewrite(bytes.subarray(at, at + size), at + size >= bytes.length)
      }).toThrow('line 3: the text is not UTF-8')
    }
  })

  test('is of the byte parser where one byte stands between fields and all else is as in RFC 4180', () => {
    expect([RFC_4180, { ...RFC_4180, delimiter: ';' }, { ...RFC_4180, delimiter: '\t' }].map(isPlain)).toEqual([
      true,
      true,
      true,
    ])
    const foreign = [QUOTED_BY_APOSTROPHES, BACKSLASHES, COMMENTS, { ...RFC_4180, delimiter: '·' }]
    expect(foreign.map(isPlain)).toEqual([false, false, false, false])
  })
})

function outcome(run: () => unknown): unknown {
  try {
    return run()
  } catch (error) {
    if (error instanceof TextError) return [error.code, error.line]
    throw error
  }
}
