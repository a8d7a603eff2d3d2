import { readdirSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'

/** The command of a process that runs a statement by DuckDB; `folder` is for its script. */
export function duckDbCommand(folder: string, statement: string): readonly [program: string, script: string] {
  const script = join(folder, 'duckdb.ts')
  const engine = JSON.stringify(Bun.resolveSync('@duckdb/node-api', process.cwd()))
  writeFileSync(
    script,
    `const { DuckDBInstance } = await import(${engine})
     await (await (await DuckDBInstance.create(':memory:')).connect()).run(${JSON.stringify(statement)})`,
  )
  return [process.execPath, script]
}

/** DuckDB's own COPY of the Parquet files of a table to CSV, as a statement. */
export function copyToCsv(table: string, path: string): string {
  const files = readdirSync(table).filter(name => name.endsWith('.parquet'))
  const list = files.map(name => `'${join(table, name)}'`).join(', ')
  return `COPY (FROM read_parquet([${list}])) TO '${path}' (HEADER)`
}
