import type { HistoryEntry } from '../table/table.ts'

/** The metrics of a commit as `name=value`, without those of which nothing happened: `--format jsonl` has them all. */
export function metricsText({ metrics }: HistoryEntry): string {
  return Object.entries(metrics)
    .filter(([, value]) => value !== '0')
    .map(([name, value]) => `${name}=${typeof value === 'string' ? value : JSON.stringify(value)}`)
    .join(' ')
}
