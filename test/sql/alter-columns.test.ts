import { describe, expect, test } from 'bun:test'
import { parseDdl, physicalName, schemaFromJson, sqlType } from '../../src/columns/schema.ts'
import { messageOf } from '../../src/core/errors.ts'
import { csvOf, execute } from '../../src/sql/engine.ts'
import { localStore } from '../../src/storage/local.ts'
import { createTable, type NewTable } from '../../src/table/operations/create.ts'
import { restore } from '../../src/table/operations/restore.ts'
import { openTable, type Table } from '../../src/table/table.ts'
import { memoryStore } from '../helpers/memory-store.ts'
import { temporaryFolder } from '../helpers/temporary.ts'
import { actionsAt, commitLines, readRows } from '../table/fixture.ts'

async function run(table: Table, sql: string): Promise<string> {
  const done = await execute(table, sql)
  if (done.kind === 'changed') return String(done.version)
  return new TextDecoder().decode(Buffer.concat(await Array.fromAsync(csvOf(done.result))))
}

const alter = (table: Table, what: string): Promise<string> => run(table, `ALTER TABLE data ${what}`)

async function refusal(table: Table, sql: string): Promise<string> {
  const { version } = await table.refresh()
  const said = await run(table, sql).then(
    () => 'it was done',
    (error: unknown) => messageOf(error),
  )
  expect((await table.refresh()).version).toBe(version)
  return said
}

const MAP_COLUMNS = `SET TBLPROPERTIES ('delta.columnMapping.mode' = 'name')`
const WIDEN = `SET TBLPROPERTIES ('delta.enableTypeWidening' = 'true')`

const columns = (table: Table): string[] => table.snapshot.schema.map(({ name, type }) => `${name} ${sqlType(type)}`)

async function made(folder: string, ddl: string, options: Partial<NewTable> = {}): Promise<Table> {
  return createTable(localStore(folder), { schema: parseDdl(ddl), ...options })
}

describe('column mapping', () => {
  test('is switched on by a property: columns keep their names in the files, each has an id, nested ones too', async () => {
    using folder = temporaryFolder()
    const table = await made(folder.path, 'id:Int64,s:struct<a:int,l:array<struct<b:int>>>,m:map<string,struct<c:int>>')
    await run(table, `INSERT INTO data VALUES (1, {'a': 2, 'l': [{'b': 3}]}, MAP {'k': {'c': 4}})`)
    await alter(table, MAP_COLUMNS)
    expect(table.snapshot.protocol).toEqual({ minReaderVersion: 2, minWriterVersion: 5 })
    const { action, configuration } = table.snapshot.metadata
    expect(configuration.get('delta.columnMapping.maxColumnId')).toBe('7')
    const ids = [
      ...action.schemaString.matchAll(/columnMapping\.id":(\d+),"delta\.columnMapping\.physicalName":"(\w+)"/g),
    ]
    expect(Object.fromEntries(ids.map(([, id, name]) => [name, Number(id)]))).toEqual({
      id: 1,
      s: 2,
      a: 3,
      l: 4,
      b: 5,
      m: 6,
      c: 7,
    })
    expect(await alter(table, MAP_COLUMNS)).toBe('undefined')
    expect(await refusal(table, `ALTER TABLE data UNSET TBLPROPERTIES ('delta.columnMapping.mode')`)).toContain(
      'the columns of the table are mapped by name, and stay so',
    )
    expect(await readRows(await openTable(table.store))).toEqual([[1n, [2, [[3]]], [['k', [4]]]]])
  })
})

describe('RENAME COLUMN', () => {
  test('is a commit of metadata alone, and every way to read follows', async () => {
    using folder = temporaryFolder()
    const table = await made(folder.path, 'id:Int64,s:struct<a:int,b:string>,l:array<struct<x:int>>')
    await run(table, `INSERT INTO data VALUES (1, {'a': 2, 'b': 'two'}, [{'x': 3}])`)
    await alter(table, MAP_COLUMNS)
    await alter(table, 'RENAME COLUMN ID TO "the id"')
    const actions = await actionsAt(table.store, 3n)
    expect(actions.map(action => Object.keys(action)[0])).toEqual(['commitInfo', 'metaData'])
    expect(actions[0]!.commitInfo).toMatchObject({
      operation: 'RENAME COLUMN',
      operationParameters: { oldColumnPath: 'id', newColumnPath: 'the id' },
    })
    await alter(table, 'RENAME COLUMN s.a TO `α β`')
    await alter(table, 'RENAME COLUMN l.element.x TO y')
    await run(table, `INSERT INTO data VALUES (2, {'α β': 5, 'b': 'five'}, [{'y': 6}])`)
    expect(await run(table, 'SELECT "the id", s."α β" AS a, s.b, l[1].y AS y FROM data ORDER BY 1')).toBe(
      'the id,a,b,y\n1,2,two,3\n2,5,five,6\n',
    )
    expect(await run(table, 'SELECT s.b FROM data WHERE "the id" = 2')).toBe('b\nfive\n')
    await run(table, 'UPDATE data SET s = struct_pack("α β" := 7, b := s.b) WHERE "the id" = 1')
    await run(table, 'DELETE FROM data WHERE "the id" = 2')
    expect(await readRows(await openTable(table.store))).toEqual([[1n, [7, 'two'], [[3]]]])
    expect(await refusal(table, 'SELECT id FROM data')).toContain('id')
    expect(await refusal(table, 'ALTER TABLE data RENAME COLUMN nope TO x')).toBe(
      'there is no column nope; the table has the id, s, l',
    )
    expect(await refusal(table, 'ALTER TABLE data RENAME COLUMN s.nope TO x')).toBe(
      'there is no field nope inside s, which has α β, b',
    )
    expect(await refusal(table, 'ALTER TABLE data RENAME COLUMN s TO L')).toContain('differ in case only')
    expect(await refusal(table, 'ALTER TABLE data RENAME COLUMN l.element TO x')).toContain('has no name of its own')
    expect(await alter(table, 'RENAME COLUMN s TO s')).toBe('undefined')
    expect(await alter(table, 'RENAME COLUMN s TO S')).not.toBe('undefined')
  })

  test('needs column mapping, and says how to switch it on', async () => {
    using folder = temporaryFolder()
    const table = await made(folder.path, 'id:Int64,name:String')
    expect(await refusal(table, 'ALTER TABLE data RENAME COLUMN name TO n')).toBe(
      `RENAME COLUMN name needs column mapping, as the files have columns under their names; it is switched on by ALTER TABLE data SET TBLPROPERTIES ('delta.columnMapping.mode' = 'name')`,
    )
    expect(await refusal(table, 'ALTER TABLE data DROP COLUMN name')).toContain('needs column mapping')
  })

  test('of a partition column changes no file, and new rows go into the same partitions', async () => {
    using folder = temporaryFolder()
    const table = await made(folder.path, 'id:Int64,p:String', { partitionColumns: ['p'], columnMapping: true })
    const physical = physicalName(table.snapshot.schema[1]!)
    expect(physical).toMatch(/^col-[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/)
    await run(table, `INSERT INTO data VALUES (1, 'x')`)
    await run(table, `INSERT INTO data VALUES (2, NULL)`)
    await alter(table, 'RENAME COLUMN p TO q')
    await run(table, `INSERT INTO data VALUES (3, 'x')`)
    expect(table.snapshot.partitionColumns).toEqual(['q'])
    expect(table.snapshot.files.map(({ add }) => add.partitionValues)).toEqual([
      { [physical]: 'x' },
      { [physical]: null },
      { [physical]: 'x' },
    ])
    const again = await openTable(table.store)
    for (const opened of [table, again])
      expect(await run(opened, `SELECT id, q FROM data WHERE q = 'x' ORDER BY id`)).toBe('id,q\n1,x\n3,x\n')
    expect(await refusal(table, 'ALTER TABLE data DROP COLUMN q')).toBe(
      'the column q cannot be dropped: the table is partitioned by it',
    )
    expect(await refusal(table, 'ALTER TABLE data DROP COLUMN id')).toContain('partitioned by all of its columns')
  })

  test('is known to the list of columns that get statistics', async () => {
    using folder = temporaryFolder()
    const table = await made(folder.path, 'a:Int64,s:struct<x:int,y:int>,c:int', { columnMapping: true })
    await alter(table, `SET TBLPROPERTIES ('delta.dataSkippingStatsColumns' = 'A,s.x,c')`)
    await alter(table, 'RENAME COLUMN a TO "a b"')
    await alter(table, 'RENAME COLUMN s TO t')
    await alter(table, 'DROP COLUMN c')
    expect(table.snapshot.metadata.configuration.get('delta.dataSkippingStatsColumns')).toBe('`a b`,t.x')
  })

  test('and DROP COLUMN are refused where an expression of the table uses the column', async () => {
    using folder = temporaryFolder()
    const table = await made(folder.path, 'id:Int64,name:String,n:int', { columnMapping: true })
    const { action } = table.snapshot.metadata
    const configuration = { ...action.configuration, 'delta.constraints.positive': "Id > 0 AND 'name' <> ''" }
    const fields = JSON.parse(action.schemaString) as { fields: { name: string; metadata: object }[] }
    const own = fields.fields.find(({ name }) => name === 'n')!
    own.metadata = { ...own.metadata, 'delta.generationExpression': 'length(name)' }
    const protocol = { minReaderVersion: 2, minWriterVersion: 5 }
    const metaData = { ...action, configuration, schemaString: JSON.stringify(fields) }
    await commitLines(table.store, 1n, [{ protocol }, { metaData }])
    for (const what of ['RENAME COLUMN id TO x', 'DROP COLUMN id'])
      expect(await refusal(table, `ALTER TABLE data ${what}`)).toContain('the CHECK constraint positive uses it')
    for (const what of ['RENAME COLUMN name TO x', 'DROP COLUMN name'])
      expect(await refusal(table, `ALTER TABLE data ${what}`)).toContain('the generated column n uses it')
    await alter(table, 'RENAME COLUMN n TO size')
    await run(table, `INSERT INTO data (id, name) VALUES (1, 'one')`)
    expect(await run(table, 'SELECT * FROM data')).toBe('id,name,size\n1,one,3\n')
    await alter(table, 'DROP COLUMN size')
    await alter(table, 'RENAME COLUMN name TO title')
  })
})

describe('DROP COLUMN', () => {
  test('takes columns away, and one of the same name that comes again has no values', async () => {
    using folder = temporaryFolder()
    const table = await made(folder.path, 'id:Int64,name:String,s:struct<a:int,b:int>,x:int')
    await run(table, `INSERT INTO data VALUES (1, 'one', {'a': 2, 'b': 3}, 4)`)
    await alter(table, MAP_COLUMNS)
    await alter(table, 'DROP COLUMNS (name, S.B)')
    expect((await actionsAt(table.store, 3n))[0]!.commitInfo).toMatchObject({
      operation: 'DROP COLUMNS',
      operationParameters: { columns: '["name","s.b"]' },
    })
    expect(columns(table)).toEqual(['id BIGINT', 's STRUCT<a: INT>', 'x INT'])
    expect(await run(table, 'SELECT * FROM data')).toBe('id,s,x\n1,"{""a"":2}",4\n')
    await alter(table, 'ADD COLUMN name STRING')
    await run(table, `INSERT INTO data VALUES (2, {'a': 5}, 6, 'two')`)
    expect(await readRows(await openTable(table.store))).toEqual([
      [1n, [2], 4, null],
      [2n, [5], 6, 'two'],
    ])
    expect(await run(table, 'SELECT id, name FROM data ORDER BY id')).toBe('id,name\n1,\n2,two\n')
    expect(await run(table, `SELECT id FROM data WHERE name = 'one'`)).toBe('id\n')
    await run(table, 'UPDATE data SET x = 0')
    expect(await run(table, 'SELECT id, s.a AS a, x, name FROM data ORDER BY id')).toBe(
      'id,a,x,name\n1,2,0,\n2,5,0,two\n',
    )
    expect(await alter(table, 'DROP COLUMN IF EXISTS nope')).toBe('undefined')
    expect(await refusal(table, 'ALTER TABLE data DROP COLUMN s.a')).toContain('a struct has no fields')
    expect(await refusal(table, 'ALTER TABLE data DROP COLUMNS (id, s, x, name)')).toContain('one column at least')
    // Ids are not used again.
    const ids = schemaFromJson(table.snapshot.metadata.action.schemaString).map(
      ({ metadata }) => metadata['delta.columnMapping.id'],
    )
    expect(ids).toEqual([1, 3, 6, 7])
  })

  test('is taken back by restore, also to a version of before columns were mapped', async () => {
    using folder = temporaryFolder()
    const table = await made(folder.path, 'id:Int64,name:String')
    await run(table, `INSERT INTO data VALUES (1, 'one')`)
    await alter(table, MAP_COLUMNS)
    await alter(table, 'DROP COLUMN name')
    await alter(table, 'RENAME COLUMN id TO key')
    for (const version of [2n, 1n]) {
      await restore(table, version)
      expect(await run(table, 'SELECT * FROM data')).toBe('id,name\n1,one\n')
      await alter(table, 'RENAME COLUMN id TO key')
      expect(await readRows(await openTable(table.store))).toEqual([[1n, 'one']])
    }
  })

  test('is refused where the table is clustered by the column; RENAME leaves the clustering as it is', async () => {
    using folder = temporaryFolder()
    const table = await made(folder.path, 'id:Int64,name:String', { columnMapping: true })
    const domain = {
      domain: 'delta.clustering',
      configuration: JSON.stringify({ clusteringColumns: [[physicalName(table.snapshot.schema[0]!)]] }),
      removed: false,
    }
    await commitLines(table.store, 1n, [{ domainMetadata: domain }])
    expect(await refusal(table, 'ALTER TABLE data DROP COLUMN id')).toBe(
      'the column id cannot be dropped: the table is clustered by it',
    )
    await alter(table, 'RENAME COLUMN id TO key')
    await alter(table, 'DROP COLUMN name')
    await run(table, 'INSERT INTO data VALUES (1)')
    expect((await openTable(table.store)).snapshot.state.domains.get('delta.clustering')).toEqual(domain)
  })
})

describe('ALTER COLUMN ... TYPE', () => {
  const PAIRS: readonly (readonly [from: string, to: string, value: string, wide: string])[] = [
    ['tinyint', 'smallint', '-7', '300'],
    ['tinyint', 'int', '-7', '70000'],
    ['tinyint', 'bigint', '-7', '5000000000'],
    ['tinyint', 'double', '-7', '0.5'],
    ['tinyint', 'decimal(12,2)', '-7', '0.5'],
    ['smallint', 'int', '-7', '70000'],
    ['smallint', 'bigint', '-7', '5000000000'],
    ['smallint', 'double', '-7', '0.5'],
    ['smallint', 'decimal(10,0)', '-7', '70000'],
    ['int', 'bigint', '-7', '5000000000'],
    ['int', 'double', '-7', '0.5'],
    ['int', 'decimal(11,1)', '-7', '0.5'],
    ['bigint', 'decimal(22,2)', '-7', '0.5'],
    ['float', 'double', '0.1', '0.25'],
    ['decimal(5,2)', 'decimal(7,2)', '-7.25', '12345.5'],
    ['decimal(5,2)', 'decimal(20,4)', '-7.25', '0.0001'],
    ['decimal(9,2)', 'decimal(38,3)', '-7.25', '0.001'],
    ['date', 'timestamp_ntz', `'2020-02-03'`, `'2021-02-03 04:05:06'`],
  ]
  for (const [from, to, value, wide] of PAIRS) {
    for (const partitioned of [false, true]) {
      test(`${from} to ${to}${partitioned ? ', of a partition column' : ''}`, async () => {
        using folder = temporaryFolder()
        const table = await made(folder.path, `id:Int64,c ${from}`, partitioned ? { partitionColumns: ['c'] } : {})
        await run(table, `INSERT INTO data VALUES (1, ${value}), (2, NULL)`)
        await alter(table, WIDEN)
        await alter(table, `ALTER COLUMN C TYPE ${to}`)
        await run(table, `INSERT INTO data VALUES (3, ${wide})`)
        const type = parseDdl(`c ${to}`)[0]!.type
        expect(table.snapshot.schema[1]!.type).toEqual(type)
        const [[, one], [, none], [, three]] = (await readRows(await openTable(table.store))) as [
          [unknown, unknown],
          [unknown, unknown],
          [unknown, unknown],
        ]
        expect(none).toBeNull()
        const literal = (text: string): string => (from === 'float' && !partitioned ? 'CAST(0.1 AS FLOAT)' : text)
        const cast = to === 'timestamp_ntz' ? 'timestamp' : to
        for (const [id, text] of [
          [1, literal(value)],
          [3, wide],
        ] as const)
          expect(await run(table, `SELECT id FROM data WHERE c = CAST(${text} AS ${cast})`)).toBe(`id\n${id}\n`)
        expect(typeof one).toBe(typeof three)
        expect(await run(table, 'SELECT id FROM data WHERE c IS NULL')).toBe('id\n2\n')
        await run(table, `UPDATE data SET id = id + 10`)
        expect(await run(table, 'SELECT count(*) AS n, count(c) AS c FROM data WHERE id > 10')).toBe('n,c\n3,2\n')
      })
    }
  }

  test('finds values of the narrow type by what they are, not by what they would be next to', async () => {
    for (const [from, to, value, near] of [
      ['int', 'double', '1', '0.75'],
      ['int', 'double', '1', '1.25'],
      ['float', 'double', '0.1', '0.1::double'],
      ['decimal(5,2)', 'decimal(20,4)', '0.01', '0.0101'],
      ['decimal(5,2)', 'decimal(20,4)', '0', '0.0001'],
      ['int', 'decimal(20,4)', '1', '1.0001'],
      ['date', 'timestamp_ntz', `DATE '2020-01-01'`, `TIMESTAMP '2020-01-01 10:00:00'`],
      ['struct<a:int>', 'double', '{a: 1}', '1.25'],
    ] as const) {
      using folder = temporaryFolder()
      const table = await made(folder.path, `id:Int64,c ${from}`)
      await run(table, `INSERT INTO data VALUES (1, ${value})`)
      await run(table, `INSERT INTO data VALUES (2, ${value})`)
      await alter(table, WIDEN)
      const column = from.startsWith('struct') ? 'c.a' : 'c'
      await alter(table, `ALTER COLUMN ${column} TYPE ${to}`)
      for (const operator of ['=', '<', '>', '<=', '>=', '<>', 'IN ']) {
        const counted = `count(CASE WHEN (${column} ${operator} (${near})) THEN 1 END)`
        const expected = await run(table, `SELECT ${counted} AS n FROM data`)
        const found = await run(table, `SELECT count(*) AS n FROM data WHERE ${column} ${operator} (${near})`)
        expect([from, to, operator, found]).toEqual([from, to, operator, expected])
      }
    }
  })

  test('is recorded in the column, and inside structs, arrays and maps', async () => {
    using folder = temporaryFolder()
    const table = await made(folder.path, 'id:Int32,s:struct<a:int>,l:array<int>,m:map<int,struct<v:array<float>>>')
    await run(table, `INSERT INTO data VALUES (1, {'a': 2}, [3, NULL], MAP {4: {'v': [0.5]}})`)
    expect(await refusal(table, 'ALTER TABLE data ALTER COLUMN id TYPE bigint')).toBe(
      `the type of id can be changed once the table has type widening, which its readers must know: ALTER TABLE data SET TBLPROPERTIES ('delta.enableTypeWidening' = 'true')`,
    )
    await alter(table, WIDEN)
    expect(table.snapshot.protocol.readerFeatures).toEqual(['typeWidening'])
    await alter(table, 'ALTER COLUMN id TYPE bigint')
    await alter(table, 'ALTER COLUMN id TYPE decimal(20, 0)')
    await alter(table, 'ALTER COLUMN s.a TYPE bigint')
    await alter(table, 'ALTER COLUMN l.element TYPE double')
    await alter(table, 'ALTER COLUMN m.key TYPE bigint')
    await alter(table, 'ALTER COLUMN m.value.v.element TYPE double')
    const [id, s, l, m] = table.snapshot.schema
    expect(id!.metadata).toEqual({
      'delta.typeChanges': [
        { fromType: 'integer', toType: 'long' },
        { fromType: 'long', toType: 'decimal(20,0)' },
      ],
    })
    expect(s!.metadata).toEqual({})
    expect(JSON.stringify(s!.type)).toContain('"delta.typeChanges":[{"fromType":"integer","toType":"long"}]')
    expect(l!.metadata['delta.typeChanges']).toEqual([{ fromType: 'integer', toType: 'double', fieldPath: 'element' }])
    expect(m!.metadata['delta.typeChanges']).toEqual([{ fromType: 'integer', toType: 'long', fieldPath: 'key' }])
    expect(await readRows(await openTable(table.store))).toEqual([[1n, [2n], [3, null], [[4n, [[0.5]]]]]])
    await run(table, `INSERT INTO data VALUES (5, {'a': 5000000000}, [0.25], MAP {5000000000: {'v': [0.1]}})`)
    expect(
      await run(table, 'SELECT id, s.a AS a, l, map_keys(m)[1] AS k, map_values(m)[1].v AS v FROM data ORDER BY id'),
    ).toBe('id,a,l,k,v\n1,2,"[3.0,null]",4,[0.5]\n5,5000000000,[0.25],5000000000,[0.1]\n')
    await run(table, 'UPDATE data SET s = {a: s.a + 1}')
    expect(await run(table, 'SELECT s.a AS a FROM data ORDER BY id')).toBe('a\n3\n5000000001\n')
    for (const [column, type] of [
      ['id', 'int'],
      ['s.a', 'decimal(15,0)'],
      ['l.element', 'string'],
      ['s', 'int'],
    ])
      expect(await refusal(table, `ALTER TABLE data ALTER COLUMN ${column} TYPE ${type}`)).toContain('cannot become')
    for (const type of ["bigint COMMENT 'x'", 'bigint NOT NULL', 'bigint, b int'])
      expect(await refusal(table, `ALTER TABLE data ALTER COLUMN id TYPE ${type}`)).toContain('is more than a type')
    expect(await alter(table, 'ALTER COLUMN s.a TYPE bigint')).toBe('undefined')
  })
})

test('columns of a table that is elsewhere are renamed, dropped and widened alike', async () => {
  const table = await createTable(memoryStore(), {
    schema: parseDdl('id:Int32,name:String,s:struct<a:int,b:int>,d:Date,m:decimal(5,2)'),
    columnMapping: true,
  })
  for (const id of [1, 2])
    await run(table, `INSERT INTO data VALUES (${id}, 'row ${id}', {a: ${id}, b: 9}, DATE '2020-01-0${id}', ${id}.25)`)
  await alter(table, WIDEN)
  await alter(table, 'RENAME COLUMN id TO key')
  await alter(table, 'DROP COLUMN name')
  await alter(table, 'DROP COLUMN s.b')
  for (const [column, type] of [
    ['key', 'double'],
    ['s.a', 'bigint'],
    ['d', 'timestamp_ntz'],
    ['m', 'decimal(12,4)'],
  ])
    await alter(table, `ALTER COLUMN ${column} TYPE ${type}`)
  await alter(table, 'ADD COLUMN name STRING')
  await run(table, `INSERT INTO data VALUES (2.5, {a: 5000000000}, TIMESTAMP '2020-01-02 03:04:05', 2.2501, 'new')`)
  const all = 'key,a,d,m,name\n1.0,1,2020-01-01T00:00:00,1.2500,\n2.0,2,2020-01-02T00:00:00,2.2500,\n'
  const added = '2.5,5000000000,2020-01-02T03:04:05,2.2501,new\n'
  expect(await run(table, 'SELECT key, s.a AS a, d, m, name FROM data ORDER BY key')).toBe(all + added)
  for (const [condition, keys] of [
    ['key > 1.75', '2.0\n2.5\n'],
    ['key = 2.5', '2.5\n'],
    ['s.a > 2', '2.5\n'],
    [`d > TIMESTAMP '2020-01-01 10:00:00' AND d < TIMESTAMP '2020-01-02 03:00:00'`, '2.0\n'],
    ['m = 2.2501', '2.5\n'],
    ['name IS NULL', '1.0\n2.0\n'],
  ])
    expect(await run(table, `SELECT key FROM data WHERE ${condition} ORDER BY key`)).toBe(`key\n${keys}`)
  await run(table, 'UPDATE data SET key = key + 10 WHERE key > 1.75')
  await run(table, 'DELETE FROM data WHERE key < 1.25')
  expect(await run(table, 'SELECT key, m FROM data ORDER BY key')).toBe('key,m\n12.0,2.2500\n12.5,2.2501\n')
})
