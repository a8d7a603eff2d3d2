import { compileExpression, type RowExpression } from '../columns/expressions/compile.ts'
import { ExpressionError } from '../columns/expressions/errors.ts'
import { physicalName, sqlType } from '../columns/schema.ts'
import type { Batch } from '../columns/types.ts'
import { constantVector, nullVector } from '../columns/vectors.ts'
import { TableError } from './errors.ts'
import type { LiveFile } from './live-files.ts'
import type { Snapshot } from './snapshot.ts'

/**
 * Returns which files a condition in Spark's SQL picks: those of the partitions of which it is TRUE. TableError
 * `unsupported_feature` for one that speaks of other columns, as that picks rows and not files, or is not worked out.
 */
export function partitionFilter(snapshot: Snapshot, condition: string): (file: LiveFile) => boolean {
  const { schema, partitionColumns } = snapshot
  const { columns, type, over } = compiled(snapshot, condition)
  const other = columns.map(at => schema[at]!.name).find(name => !partitionColumns.includes(name))
  if (other !== undefined)
    throw refused(
      condition,
      partitionColumns.length === 0
        ? `it picks partitions, and the table has none (${other} is a column like any other)`
        : `it picks partitions, and ${other} is no partition column; those are ${partitionColumns.join(', ')}`,
    )
  if (type.kind !== 'boolean' && type.kind !== 'void')
    throw refused(condition, `it is a value of the type ${sqlType(type)}, and no condition`)
  // Columns that the condition does not read are not looked at.
  const valuesOf = ({ partition }: LiveFile): Batch => ({
    rows: 1,
    vectors: schema.map((field, at) =>
      columns.includes(at)
        ? constantVector(field.type, 1, partition.get(physicalName(field)) ?? null)
        : nullVector(field.type, 0),
    ),
  })
  return file => {
    try {
      return over(valuesOf(file))(0) === true
    } catch (error) {
      if (!(error instanceof ExpressionError)) throw error
      throw refused(condition, `${error.message}, in the partition of ${file.path}`, error)
    }
  }
}

function compiled({ schema }: Snapshot, condition: string): RowExpression {
  try {
    return compileExpression(condition, schema)
  } catch (error) {
    if (error instanceof ExpressionError) throw refused(condition, error.message, error)
    throw error
  }
}

function refused(condition: string, why: string, cause?: unknown): TableError {
  return new TableError('unsupported_feature', `the condition ${condition} cannot be used: ${why}`, { cause })
}
