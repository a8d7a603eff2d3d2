import { type Attributes, type Change, type Client, FsError } from '../filesystem.ts'
import { RefusedChange } from '../names.ts'
import type { FileNode, TreeNode } from './node.ts'

/** Gives a file another size, or refuses to. */
export function truncate(node: TreeNode, size: bigint, before: Attributes, client: Client): Promise<Change> {
  if (node.kind === 'directory') throw isDirectory()
  if (node.truncate === undefined || !node.writable) throw notWritable(node)
  return node.truncate(size, before, client)
}

/** The refusal of a change of a file's bytes. */
export function notWritable(node: FileNode): FsError {
  if (node.refusal !== undefined) return node.refusal()
  const message = node.writable
    ? `${node.name}: it can be emptied, and not written`
    : `${node.name}: it is read-only; write to data.csv or data.jsonl`
  return new RefusedChange('EACCES', message)
}

export function isDirectory(): FsError {
  return new FsError('EISDIR', 'this is a directory')
}
