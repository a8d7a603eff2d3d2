import type { NewFile } from '../data-files/new-file.ts'

/** Rows that were taken away, or got other values. */
export interface ChangedRows {
  readonly rows: number
  /** The SQL condition, where there was one. */
  readonly predicate?: string | undefined
  /** The files that were written: of the rows that are left, or of their new values. Undefined: they are not counted. */
  readonly files?: readonly NewFile[] | undefined
}

/** The parameter `predicate` of an operation: a list of SQL conditions, as Delta writers note it. */
export function predicates(predicate: string | undefined): string {
  return JSON.stringify(predicate === undefined ? [] : [predicate])
}

/** A metric that counts files; none where they are not counted. */
export function filesMetric(name: string, files: readonly NewFile[] | undefined): Readonly<Record<string, string>> {
  return files === undefined ? {} : { [name]: String(files.length) }
}
