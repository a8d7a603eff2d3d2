import { describe, expect, test } from 'bun:test'
import { mkdirSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { parseDdl, schemaToJson, typeToDelta } from '../../src/columns/schema.ts'
import { sqlName, sqlText } from '../../src/columns/sql-names.ts'
import type { Field } from '../../src/columns/types.ts'
import { schemaSql } from '../../src/fs/views/schema-sql.ts'
import { openStore } from '../../src/storage/location.ts'
import { openTable } from '../../src/table/table.ts'
import { temporaryFolder } from '../helpers/temporary.ts'

interface Made {
  readonly name?: string
  readonly description?: string
  readonly partitionColumns?: readonly string[]
  readonly configuration?: Readonly<Record<string, string>>
  readonly clustering?: readonly (readonly string[])[]
}

/** The statement of a table whose log another writer could have made. */
async function sqlOf(schema: readonly Field[], made: Made = {}): Promise<string> {
  using folder = temporaryFolder()
  const { clustering, ...metadata } = made
  const actions = [
    {
      protocol: {
        minReaderVersion: 3,
        minWriterVersion: 7,
        readerFeatures: ['columnMapping'],
        writerFeatures: ['columnMapping', 'domainMetadata', 'clustering'],
      },
    },
    {
      metaData: {
        id: 'a-table',
        format: { provider: 'parquet', options: {} },
        schemaString: schemaToJson(schema),
        partitionColumns: [],
        configuration: {},
        ...metadata,
      },
    },
    ...(clustering === undefined
      ? []
      : [
          {
            domainMetadata: {
              domain: 'delta.clustering',
              configuration: JSON.stringify({ clusteringColumns: clustering }),
              removed: false,
            },
          },
        ]),
  ]
  mkdirSync(join(folder.path, '_delta_log'))
  const lines = actions.map(action => `${JSON.stringify(action)}\n`).join('')
  writeFileSync(join(folder.path, '_delta_log', `${'0'.repeat(20)}.json`), lines)
  const table = await openTable(openStore({ kind: 'local', directory: folder.path }))
  return schemaSql(table.snapshot)
}

/** What stands between the outer brackets, which `create --schema` takes. */
function columnsOf(sql: string): string {
  return sql.slice(sql.indexOf('(\n') + 1, sql.lastIndexOf('\n) USING DELTA'))
}

const withMetadata = (ddl: string, metadata: Field['metadata']): Field => ({ ...parseDdl(ddl)[0]!, metadata })

describe('a name', () => {
  test('is quoted where Spark SQL needs it', () => {
    for (const name of ['id', '_x', 'a1', 'A_b', 'data', 'date', 'name', 'timestamp', 'value', 'x_1__']) {
      expect(sqlName(name)).toBe(name)
    }
    for (const name of [
      'order',
      'Select',
      'GROUP',
      'user',
      'time',
      'true',
      'a b',
      '1st',
      '12',
      'a-b',
      'a.b',
      'grün',
      '',
      'a"b',
      ' ',
      'a\nb',
    ]) {
      expect(sqlName(name)).toBe(`\`${name}\``)
    }
    expect(sqlName('a`b``')).toBe('`a``b`````')
  })

  test('in any writing is read back as it was', () => {
    for (const name of ['order', 'a b', '1st', 'a`b', '``', 'a"b', "it's", 'a,b', 'x:y', '<a>', 'grün', 'a\\b', ' a']) {
      expect(parseDdl(`${sqlName(name)} INT`)[0]!.name).toBe(name)
    }
  })
})

describe('a table as SQL', () => {
  test('has its columns, types and constraints, each name as Spark SQL writes it', async () => {
    const schema = parseDdl(
      '`order` bigint NOT NULL, "first name" string, `a``b` decimal(10,2), s struct<`order`: int NOT NULL, `x y`: array<struct<`1`: string>>>, m map<string, struct<`end`: date>>',
    )
    expect(await sqlOf(schema, { name: 'my table', partitionColumns: ['first name'] })).toBe(
      'CREATE TABLE `my table` (\n' +
        '  `order` BIGINT NOT NULL,\n' +
        '  `first name` STRING,\n' +
        '  `a``b` DECIMAL(10,2),\n' +
        '  s STRUCT<`order`: INT NOT NULL, `x y`: ARRAY<STRUCT<`1`: STRING>>>,\n' +
        '  m MAP<STRING, STRUCT<`end`: DATE>>\n' +
        ') USING DELTA\n' +
        'PARTITIONED BY (`first name`);\n',
    )
  })

  test('gives the columns that it was made from to create --schema', async () => {
    const schema = parseDdl(
      "id:Int64 NOT NULL, i8:Int8, i16:Int16, i32:Int32, f:Float32, d:Float64, n:Decimal(38,10), t:String, b:Boolean, x:Binary, day:Date, at:Timestamp, wall:Timestamp_ntz, `a``b`:array<map<string,struct<`x y`:int NOT NULL COMMENT 'no ''one''', z:string>>>, c:String COMMENT 'tab\\tbackslash \\\\ quote \\' end'",
    )
    const read = parseDdl(columnsOf(await sqlOf(schema)))
    expect(read).toEqual(schema)
    expect(read.at(-1)!.metadata).toEqual({ comment: "tab\tbackslash \\ quote ' end" })
    expect(JSON.stringify(typeToDelta(read.at(-2)!.type))).toContain(`{"comment":"no 'one'"}`)
  })

  test('has comments, defaults, generated values and declared types', async () => {
    const sql = await sqlOf([
      withMetadata('id bigint', {
        'delta.identity.start': 1,
        'delta.identity.step': 2,
        'delta.identity.highWaterMark': 9,
      }),
      withMetadata('by bigint', {
        'delta.identity.start': -5,
        'delta.identity.step': 1,
        'delta.identity.allowExplicitInsert': true,
      }),
      withMetadata('day date', { 'delta.generationExpression': 'CAST(at AS DATE)', comment: "the day's date\nin UTC" }),
      withMetadata('n int NOT NULL', { CURRENT_DEFAULT: "1 + 'x'", EXISTS_DEFAULT: '1' }),
      withMetadata('code string', { __CHAR_VARCHAR_TYPE_STRING: 'varchar(10)' }),
    ])
    expect(sql).toBe(
      'CREATE TABLE data (\n' +
        '  id BIGINT GENERATED ALWAYS AS IDENTITY (START WITH 1 INCREMENT BY 2),\n' +
        '  by BIGINT GENERATED BY DEFAULT AS IDENTITY (START WITH -5 INCREMENT BY 1),\n' +
        "  day DATE GENERATED ALWAYS AS (CAST(at AS DATE)) COMMENT 'the day\\'s date\\nin UTC',\n" +
        "  n INT NOT NULL DEFAULT 1 + 'x',\n" +
        '  code VARCHAR(10)\n' +
        ') USING DELTA\n' +
        "TBLPROPERTIES ('delta.feature.allowColumnDefaults' = 'supported');\n",
    )
  })

  test('has its clustering, its comment and its properties, but not those that its writers keep for themselves', async () => {
    const physical = withMetadata('`the key` struct<part: int>', {
      'delta.columnMapping.physicalName': 'col-1',
      'delta.columnMapping.id': 1,
    })
    const sql = await sqlOf([physical, ...parseDdl('b int')], {
      description: "it's \\ mine",
      clustering: [['b'], ['col-1', 'part']],
      configuration: {
        'delta.columnMapping.mode': 'name',
        'delta.columnMapping.maxColumnId': '7',
        'delta.rowTracking.materializedRowIdColumnName': '_row-id',
        owner: "o'neil",
        'delta.appendOnly': 'true',
        'delta.constraints.positive': 'b > 0',
      },
    })
    expect(sql).toEndWith(
      ') USING DELTA\n' +
        'CLUSTER BY (b, `the key`.part)\n' +
        "COMMENT 'it\\'s \\\\ mine'\n" +
        "TBLPROPERTIES ('delta.appendOnly' = 'true', 'delta.columnMapping.mode' = 'name', 'delta.constraints.positive' = 'b > 0', 'owner' = 'o\\'neil');\n",
    )
  })

  test('without columns is a comment', async () => {
    expect(await sqlOf([], { name: 'x' })).toStartWith('-- x has no columns yet')
  })

  test('has texts in one line', () => {
    expect(sqlText("a'b\\c\n\r\t\0")).toBe("'a\\'b\\\\c\\n\\r\\t\\0'")
  })
})
