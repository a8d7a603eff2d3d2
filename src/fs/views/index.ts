import type { ViewDefinition } from './context.ts'
import { dataFolder } from './data.ts'
import { errorsView } from './errors.ts'
import { parquetFiles } from './parquet.ts'
import { queryView } from './query.ts'
import { queryResults } from './results.ts'
import { schemaSqlView } from './schema-sql.ts'
import { statsView } from './stats.ts'
import { tableView } from './table.ts'

/**
 * All that the mount shows beside the users' own files. A new view is a file that makes its nodes, and a line here. Cookies
 * never change: a client may be in the middle of a listing when the server is started anew. Those of views in front of the
 * users' files are below 1,000, and also the id of a view that has just one.
 */
export const views: readonly ViewDefinition[] = [
  { folder: 'root', name: 'data', node: dataFolder, cookie: 3n, listed: true, writable: true },
  { folder: 'root', name: '.query', node: queryView, cookie: 7n, listed: true, writable: true },
  { folder: 'root', name: 'schema.sql', node: schemaSqlView, cookie: 13n, listed: true, writable: false },
  { folder: 'root', name: '.stats', node: statsView, cookie: 15n, listed: true, writable: false },
  { folder: 'root', name: '.errors', node: errorsView, cookie: 16n, listed: true, writable: true },
  { folder: 'data', name: 'data.csv', node: tableView('csv'), cookie: 4n, listed: true, writable: true },
  { folder: 'data', name: 'data.json', node: tableView('json'), cookie: 5n, listed: true, writable: false },
  { folder: 'data', name: 'data.jsonl', node: tableView('jsonl'), cookie: 6n, listed: true, writable: true },
  { folder: 'data', name: '*.parquet', node: parquetFiles, cookie: 1n << 62n, listed: true, writable: false },
  {
    folder: 'queries',
    name: '*.{csv,json,jsonl}',
    node: queryResults,
    cookie: 1n << 61n,
    listed: true,
    writable: false,
  },
]
