import { TableError } from './errors.ts'
import type { Snapshot } from './snapshot.ts'

/** The columns of a clustered table, by their names in the files (PROTOCOL.md, "Clustered Table"). */
export function clusteringColumns({ state }: Snapshot): readonly (readonly string[])[] {
  const text = state.domains.get('delta.clustering')?.configuration
  if (text === undefined) return []
  try {
    const { clusteringColumns: columns } = JSON.parse(text) as { clusteringColumns?: unknown }
    return Array.isArray(columns) ? (columns as string[][]) : []
  } catch (cause) {
    throw new TableError('corrupt_log', 'the domain delta.clustering of the table is not JSON', { cause })
  }
}
