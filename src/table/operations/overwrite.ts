import type { Operation } from '../commit/change.ts'
import { type Append, appended } from './append.ts'

/** Rows in the place of those of a condition, or of all. */
export function overwritten({ predicate, ...rows }: Append & { readonly predicate: string | undefined }): Operation {
  const { name, parameters, metrics } = appended(rows)
  return {
    name,
    parameters: { ...parameters, mode: 'Overwrite', ...(predicate === undefined ? {} : { predicate }) },
    ...(metrics === undefined ? {} : { metrics }),
  }
}
