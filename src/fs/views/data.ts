import type { ViewDefinition } from './context.ts'
import { named } from './view.ts'

/** `data/`: the folder of the table's rows. */
export const dataFolder: ViewDefinition['node'] = ({ data }, entry) =>
  named(entry, {
    kind: 'directory',
    find: ({ id }) => (id === data.id ? data : undefined),
    open: () => data,
  })
