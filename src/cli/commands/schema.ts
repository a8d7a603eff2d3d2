import { schemaToJson } from '../../columns/schema.ts'
import { schemaSql } from '../../fs/views/schema-sql.ts'
import { command } from '../command.ts'
import { openTableOf } from '../open-table.ts'
import { print } from '../output.ts'
import { storeArgs } from '../store-args.ts'

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
    const { snapshot } = await openTableOf(args)
    await print(args.format === 'json' ? `${schemaToJson(snapshot.schema)}\n` : schemaSql(snapshot))
    return undefined
  },
})
