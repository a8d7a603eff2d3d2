import type { TextFormatName } from '../../columns/text/formats/index.ts'
import { fileClientOf } from '../ends-of-file.ts'
import type { CreateHow, Node } from '../filesystem.ts'
import { DEFAULT_HOLD_TIMES } from '../saves/hold-times.ts'
import type { CreatedNode } from '../tree/node.ts'
import { ViewName } from '../view-name.ts'
import { listedAttributes, type ViewContext, type ViewDefinition } from './context.ts'
import { TableView } from './table-view.ts'
import { type NamedView, named } from './view.ts'

/** The live table in a text format. */
export function tableView(format: TextFormatName): ViewDefinition['node'] {
  return (context, entry) => {
    const view = new TableView(context, { format, ...context.tables.optionsFor(entry.writable) })
    const name = newName(context, view)
    context.tables.add({ view, name })
    return named(entry, {
      kind: 'file',
      find: node => view.file(node),
      open: async folder => {
        if (view.away !== undefined) return undefined
        const { id } = await view.open(fileClientOf(folder))
        return view.file({ ...folder, id })
      },
      entry: async folder => {
        const { version } = await context.refresh()
        if (view.away !== undefined) return undefined
        const shown = view.isEdited ? await view.open(fileClientOf(folder)) : view.lineages.peek()
        const { id } = shown ?? (await view.open(fileClientOf(folder)))
        // Opening a text may mean rendering all of another writer's table: then the client asks for it by name.
        const file = shown?.version === version ? view.file({ ...folder, id }) : undefined
        return { id, attributes: file && (await listedAttributes(context, file, folder)) }
      },
      ...(name === undefined ? {} : changes(context, view, name)),
    })
  }
}

function newName(context: ViewContext, view: TableView): ViewName | undefined {
  const { editor } = view
  if (editor === undefined) return undefined
  const { scratch, table, tables, holdTimes, clock, alone, onData, log } = context
  return new ViewName({
    view,
    editor,
    scratch,
    table,
    textOfLineage: id => tables.textOfLineage(id),
    times: holdTimes ?? DEFAULT_HOLD_TIMES,
    nowMs: () => clock.nowMs(),
    alone,
    onNames: onData,
    log,
  })
}

function changes(
  { data }: ViewContext,
  view: TableView,
  name: ViewName,
): Pick<NamedView, 'create' | 'remove' | 'renameAway' | 'renameOnto'> {
  return {
    create: async (how: CreateHow, folder: Node): Promise<CreatedNode> => {
      const before = await data.attributes(folder)
      const client = fileClientOf(folder)
      const lineage = await name.create(how, client)
      const attributes = await view.shownAttributes(lineage, client)
      return { node: lineage, attributes, directory: { before, after: await data.attributes(folder) } }
    },
    remove: () => name.remove(),
    renameAway: (to, toName) => name.renameAway(to, toName),
    renameOnto: (from, fromName) => name.renameOnto(from, fromName),
  }
}
