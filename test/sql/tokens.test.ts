import { describe, expect, test } from 'bun:test'
import { parseStatements, type Statement } from '../../src/sql/statement.ts'
import { nameOf, tokenize } from '../../src/sql/tokens.ts'

const texts = (sql: string): string[] => tokenize(sql).map(({ text }) => text)

const parseStatement = (sql: string): Statement | undefined => parseStatements(sql)[0]?.statement
const hasReturning = (sql: string): boolean | undefined => parseStatements(sql)[0]?.returning

describe('the tokens of SQL', () => {
  test('keep quotes, dollar quotes and escapes whole, and leave comments out', () => {
    expect(texts(`a'b''c' "d""e" E'f\\'g' $$h;$$ $x$i$$j$x$ -- k\nl/* m /* n */ o */p`)).toEqual([
      'a',
      `'b''c'`,
      '"d""e"',
      `E'f\\'g'`,
      '$$h;$$',
      '$x$i$$j$x$',
      'l',
      'p',
    ])
    expect(texts('1.5e-3+.5,1_000;x$1')).toEqual(['1.5e-3', '+', '.5', ',', '1_000', ';', 'x$1'])
    expect(texts('größe 😀 = 1')).toEqual(['größe', '😀', '=', '1'])
    expect(nameOf(tokenize('"a ""b"""')[0]!)).toBe('a "b"')
  })

  test('reach to the end where something is not finished', () => {
    for (const open of [`'x;`, `"x;`, '$$x;', '/* x;', `E'x;`, `E'x\\';`])
      expect(parseStatements(`a ${open} DELETE FROM data`)).toHaveLength(1)
  })

  test('know how deep in brackets they are', () => {
    expect(tokenize('a(b[c]{d})e)f').map(({ text, depth }) => `${text}${depth}`)).toEqual([
      'a0',
      '(0',
      'b1',
      '[1',
      'c2',
      ']1',
      '{1',
      'd2',
      '}1',
      ')0',
      'e0',
      ')0',
      'f0',
    ])
  })
})

describe('the kind of a statement', () => {
  const kind = (sql: string): string | undefined => parseStatement(sql)?.kind

  test('is that of its verb, behind what WITH brings', () => {
    expect(kind('select 1')).toBe('query')
    expect(kind('(SELECT 1)')).toBe('query')
    expect(kind('FROM data')).toBe('query')
    expect(kind('WITH a AS (DELETE FROM x), b(c, d) AS NOT MATERIALIZED (SELECT 1) SELECT 1')).toBe('query')
    expect(kind('WITH RECURSIVE a AS (SELECT 1) delete from data')).toBe('delete')
    expect(kind('WITH a AS (SELECT 1) INSERT INTO data FROM a')).toBe('insert')
    expect(kind('/* x */ Truncate Table data')).toBe('truncate')
    expect(kind('MERGE INTO data d USING s ON d.a = s.a WHEN NOT MATCHED BY SOURCE THEN DELETE')).toBe('merge')
  })

  test('is unknown where words are left over, which might be the condition', () => {
    for (const sql of [
      'DELETE FROM data WHRE id = 1',
      'DELETE FROM data d e',
      'DELETE FROM data, other WHERE true',
      'DELETE data',
      'TRUNCATE data, other',
      'UPDATE data d e SET a = 1',
      'INSERT data SELECT 1',
      'INSERT INTO data REPLACE WHERE a = 1',
      'INSERT OVERWRITE',
    ])
      expect([sql, kind(sql)]).toEqual([sql, undefined])
  })

  test('does not depend on words inside texts and names', () => {
    expect(parseStatement(`DELETE FROM "data" WHERE name = 'WHERE; RETURNING' AND "from" = 1`)).toMatchObject({
      alias: '"data"',
      condition: `name = 'WHERE; RETURNING' AND "from" = 1`,
    })
    expect(hasReturning(`SELECT 'returning', "returning", (returning)`)).toBe(false)
    expect(hasReturning('DELETE FROM data Returning *')).toBe(true)
  })
})
