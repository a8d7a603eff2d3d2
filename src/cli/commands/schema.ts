import { schemaToJson } from '../../columns/schema.ts'
import { schemaSql } from '../../fs/views/schema-sql.ts'
import { openStore, parseLocation } from '../../storage/location.ts'
import { openTable } from '../../table/table.ts'
import { command } from '../command.ts'
import { print } from '../output.ts'
import { storeArgs, useStore } from '../store-args.ts'
import { settle } from '../table-of.ts'

export default command({
  name: 'schema',
  summary: "Print a table's columns",
  examples: ['posixlake schema ./people', 'posixlake schema ./people --format json'],
  args: {
    table: { type: 'positional', required: true, description: 'The table: a directory or s3://bucket/prefix' },
    format: {
      type: 'enum',
      options: ['sql', 'json'],
      default: 'sql',
      description: 'sql: CREATE TABLE; json: as Delta keeps it',
    },
    ...storeArgs,
  },
  run: async args => {
    useStore(args.table, args)
    await settle(args.table)
    const { snapshot } = await openTable(openStore(parseLocation(args.table)))
    await print(args.format === 'json' ? `${schemaToJson(snapshot.schema)}\n` : schemaSql(snapshot))
    return undefined
  },
})
