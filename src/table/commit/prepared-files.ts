import type { ObjectStore } from '../../storage/object-store.ts'
import type { NewFile } from '../data-files/new-file.ts'
import type { LiveFile } from '../live-files.ts'
import type { DeletionVectorDescriptor } from '../log/actions/index.ts'
import type { TableMetadata } from '../metadata.ts'
import type { Snapshot } from '../snapshot.ts'
import { writeVectors } from '../vectors/store.ts'
import { withoutRows } from './copy-on-write.ts'
import type { StagedFiles } from './staged-files.ts'

/** The rows of a live file that are deleted once a change is made, those that were before included. */
export interface DeletedRows {
  readonly file: LiveFile
  /** Physical row numbers, ascending. */
  readonly rows: Uint32Array
}

/**
 * The vectors and the rewritten files of one change. Each follows from a logical file, so that an attempt to commit takes
 * those of the attempt before where nobody touched the file meanwhile.
 */
export class PreparedFiles {
  readonly #store: ObjectStore
  readonly #staged: StagedFiles
  readonly #rewritten = new Map<string, { readonly metadata: TableMetadata; readonly file: NewFile }>()
  readonly #vectors = new Map<string, DeletionVectorDescriptor>()

  constructor(store: ObjectStore, staged: StagedFiles) {
    this.#store = store
    this.#staged = staged
  }

  /** A file written anew, without rows (copy-on-write). */
  async withoutRows(snapshot: Snapshot, { file, rows }: DeletedRows): Promise<NewFile> {
    const known = this.#rewritten.get(file.key)
    if (known?.metadata === snapshot.metadata) return known.file
    const written = await withoutRows(this.#store, this.#staged, snapshot, file, rows)
    this.#rewritten.set(file.key, { metadata: snapshot.metadata, file: written })
    return written
  }

  /** The vectors of files, in their order; those that have to be written share a file. */
  async vectors(deleted: readonly DeletedRows[]): Promise<DeletionVectorDescriptor[]> {
    const missing = deleted.filter(({ file }) => !this.#vectors.has(file.key))
    const written = await writeVectors(
      this.#staged,
      missing.map(({ rows }) => rows),
    )
    for (const [i, { file }] of missing.entries()) this.#vectors.set(file.key, written[i]!)
    return deleted.map(({ file }) => this.#vectors.get(file.key)!)
  }
}
