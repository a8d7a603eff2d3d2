import type { ObjectStore } from '../../storage/object-store.ts'
import type { DeletionVectorDescriptor } from '../log/actions/index.ts'
import type { TableMetadata } from '../metadata.ts'
import type { LiveFile, Snapshot } from '../snapshot.ts'
import { vectorPath, writeVectors } from '../vectors/store.ts'
import type { NewFile } from './change-set.ts'
import { withoutRows } from './copy-on-write.ts'

/**
 * The files that the attempts of one commit write. A file that was written anew is used again by the next attempt if
 * nobody touched it meanwhile; what no version names in the end is taken away.
 */
export class Staging {
  readonly #store: ObjectStore
  readonly #written = new Set<string>()
  readonly #rewritten = new Map<string, { readonly metadata: TableMetadata; readonly file: NewFile }>()
  #used = new Set<string>()

  constructor(store: ObjectStore) {
    this.#store = store
  }

  /** A new attempt: nothing is used yet. */
  begin(): void {
    this.#used = new Set()
  }

  /** Copy-on-write of a file. In one commit the rows follow from the file and its vector. */
  async withoutRows(snapshot: Snapshot, file: LiveFile, rows: Uint32Array): Promise<NewFile> {
    const known = this.#rewritten.get(file.key)
    const written =
      known?.metadata === snapshot.metadata ? known.file : await withoutRows(this.#store, snapshot, file, rows)
    this.#rewritten.set(file.key, { metadata: snapshot.metadata, file: written })
    this.#use(written.path)
    return written
  }

  async vectors(rows: readonly Uint32Array[]): Promise<DeletionVectorDescriptor[]> {
    const descriptors = await writeVectors(this.#store, rows)
    for (const descriptor of descriptors)
      if (descriptor.storageType === 'u') this.#use(vectorPath(this.#store, descriptor))
    return descriptors
  }

  #use(path: string): void {
    this.#written.add(path)
    this.#used.add(path)
  }

  /** Keeps what the last attempt used: it is committed, or nobody can tell. */
  keep(): void {
    for (const path of this.#used) this.#written.delete(path)
  }

  /** Takes away what is not kept. A file that stays behind does no harm: no version names it. */
  async discard(): Promise<void> {
    for (const path of this.#written) await this.#store.delete(path).catch(() => undefined)
  }
}
