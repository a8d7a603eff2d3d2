import { messageOf } from '../core/errors.ts'
import { withinMs } from '../core/limit.ts'
import { type MountEntry, mounts, unmount } from '../mount/linux.ts'
import { shellQuoted } from '../mount/run.ts'
import type { Asker, Joined, JoinRequest } from './control.ts'
import { DEFAULT_HOST, type WantedEndpoint } from './endpoints.ts'
import { ServeError } from './errors.ts'
import { type ExportRecord, mountsOf, type ServerRecord, type TableMount } from './registry.ts'
import type { Rights, TableServer } from './table-server.ts'

/** The interval at which the system's mounts are looked at; a client that leaves is heard of at once. */
const LOOK_EVERY_MS = 2000
/** A server that was started for a mount waits for it so long. */
const FIRST_MOUNT_MS = 60_000
const ENDPOINT_GRACE_MS = 1000
/** The kernel closes its connection behind umount(2); a busy machine takes its time. */
const CLIENT_LEAVES_MS = 5000
const UNMOUNT_LIMIT_MS = 10_000
const CUT_OFF_LIMIT_MS = 2000

const BOTH = [false, true]

/** Every export that a mount can be of: by these a mount is known as one of this table. */
export function exportRecords(server: TableServer): ExportRecord[] {
  const rights = BOTH.flatMap(readOnly => BOTH.map(allowOther => ({ readOnly, allowOther })))
  return rights.map(each => ({ ...each, path: server.pathOf(each) }))
}

export interface MountsOptions {
  readonly server: TableServer
  readonly exports: readonly ExportRecord[]
  readonly untilUnmounted: boolean
  readonly log: (sentence: string) => void
  /** The last mount and the last client are gone. May be called more than once. */
  readonly onUnused: () => void
  /** Mounts have come or gone. */
  readonly onChange: () => void
  /** The system's mounts. */
  readonly list?: () => MountEntry[]
}

/** The mounts of a server: those that are there, and those that are being made. */
export class Mounts {
  readonly #options: MountsOptions
  /** Mount points that `posixlake mount` made, or is making. */
  readonly #ours = new Set<string>()
  readonly #joining = new Map<string, Rights>()
  /** The processes that asked for mounts and still wait for their ends, by mount point. */
  readonly #askers = new Map<string, Asker>()
  readonly #timer: Timer
  #present: TableMount[] = []
  /** Until then a server without a mount waits for the first one (by performance.now()). */
  #waitsUntilMs: number
  #isClosed = false
  #withoutClients: (() => void)[] = []

  constructor(options: MountsOptions) {
    this.#options = options
    this.#waitsUntilMs = performance.now() + FIRST_MOUNT_MS
    this.#timer = setInterval(() => this.look(), LOOK_EVERY_MS)
    this.#timer.unref()
  }

  get present(): readonly TableMount[] {
    return this.#present
  }

  /** The mount points where `posixlake mount` has mounted the table, or is about to. */
  get ours(): readonly string[] {
    return [...this.#ours]
  }

  /** Takes over the mounts of a server that died: programs wait for their endpoints to answer again. */
  async inherit(previous: ServerRecord | undefined): Promise<void> {
    const { server, log } = this.#options
    this.#present = this.#list()
    for (const mount of this.#present) {
      const { mountPoint, port } = mount
      if (previous?.mountPoints.includes(mountPoint) === true) this.#ours.add(mountPoint)
      await server.openExport(mount)
      const host = previous?.endpoints.find(known => known.port === port)?.host ?? mount.host
      await server.endpoints.listen({ host, port }).catch(error => {
        log(`the programs that use ${mountPoint} go on waiting: ${messageOf(error)}`)
      })
      log(`${mountPoint} is served again`)
    }
    if (this.#present.length > 0) this.#waitsUntilMs = 0
  }

  /** Prepares a mount, and keeps the server until it is there or the asker is gone. */
  async join(request: JoinRequest, asker: Asker): Promise<Joined> {
    const { server, exports, log } = this.#options
    const { mountPoint, readOnly, allowOther } = request
    if (this.#joining.has(mountPoint))
      throw new ServeError('busy', `${mountPoint} is being mounted by another command; wait for it`)
    // From here on the server does not end by itself.
    this.#joining.set(mountPoint, { readOnly, allowOther })
    this.look()
    const known = this.#present.find(mount => mount.mountPoint === mountPoint)
    if (known !== undefined) return { kind: 'mounted', ...known }
    this.#askers.set(mountPoint, asker)
    void asker.gone.then(() => {
      if (this.#askers.get(mountPoint) !== asker) return
      this.#askers.delete(mountPoint)
      this.#joining.delete(mountPoint)
      this.#waitsUntilMs = 0
      this.look()
    })
    const endpoint = await server.endpoints.listen(this.#wantedBy(request))
    await server.openExport(request)
    if (this.#isClosed) throw new ServeError('stopping', 'the server of the table is ending; try again')
    this.#ours.add(mountPoint)
    this.#options.onChange()
    log(`${mountPoint} is being mounted${readOnly ? ', read-only' : ''}${allowOther ? ', for all users' : ''}`)
    const exportPath = exports.find(each => each.readOnly === readOnly && each.allowOther === allowOther)?.path ?? ''
    return { kind: 'mount', host: endpoint.host, port: endpoint.port, exportPath }
  }

  /** Returns the endpoint that is asked for; where no port or address is, the one that the server has already. */
  #wantedBy({ host, port }: JoinRequest): WantedEndpoint {
    const [first] = this.#options.server.endpoints.all
    if (host === undefined && port === undefined && first !== undefined) return first
    return { host: host ?? first?.host ?? DEFAULT_HOST, port }
  }

  /** A mount that was asked for has been made; it may be gone again. */
  made(mountPoint: string): void {
    this.#joining.delete(mountPoint)
    this.#waitsUntilMs = 0
    this.look()
    if (!this.#present.some(mount => mount.mountPoint === mountPoint)) this.#askers.get(mountPoint)?.end()
  }

  /** Looks at the system's mounts, and ends what none of them needs any more. */
  look(): void {
    if (this.#isClosed) return
    const { log, onChange } = this.#options
    const before = this.#present
    this.#present = this.#list()
    for (const { mountPoint } of this.#present) this.#joining.delete(mountPoint)
    const isThere = (mountPoint: string): boolean => this.#present.some(mount => mount.mountPoint === mountPoint)
    for (const point of this.#ours) if (!isThere(point) && !this.#joining.has(point)) this.#ours.delete(point)
    const went = before.filter(({ mountPoint }) => !isThere(mountPoint))
    const came = this.#present.filter(({ mountPoint }) => !before.some(mount => mount.mountPoint === mountPoint))
    for (const { mountPoint } of came) log(`${mountPoint} is mounted`)
    for (const { mountPoint } of went) {
      log(`${mountPoint} is unmounted`)
      this.#askers.get(mountPoint)?.end()
    }
    if (went.length > 0) this.#closeUnneeded(went)
    if (went.length + came.length > 0) onChange()
    const { server, untilUnmounted, onUnused } = this.#options
    if (server.endpoints.clients > 0) return
    for (const resolve of this.#withoutClients.splice(0)) resolve()
    const isUsed = this.#present.length > 0 || this.#joining.size > 0 || performance.now() < this.#waitsUntilMs
    if (!isUsed && untilUnmounted) onUnused()
  }

  /** Resolves when no client is connected, or after a moment, or if mounts are left: one that is gone closes its connection. */
  async withoutClients(): Promise<void> {
    const { promise, resolve } = Promise.withResolvers<void>()
    this.#withoutClients.push(resolve)
    this.look()
    if (this.#present.length === 0 && this.#joining.size === 0) await withinMs(CLIENT_LEAVES_MS, promise)
  }

  /** True if there is no mount and none is being made, but clients that go on. */
  isUsedWithout(): boolean {
    return this.#present.length === 0 && this.#joining.size === 0 && this.#options.server.endpoints.clients > 0
  }

  /** Other users' access ends with the last mount that gave it; so does what else listens for a mount. */
  #closeUnneeded(went: readonly TableMount[]): void {
    const { server } = this.#options
    const needed = [...this.#present, ...this.#joining.values()]
    for (const mount of went.filter(({ allowOther }) => allowOther)) {
      if (!needed.some(({ readOnly, allowOther }) => allowOther && readOnly === mount.readOnly))
        server.closeExport(mount)
    }
    if (this.#joining.size === 0)
      void server.endpoints.keepOnly(({ port }) => this.#present.some(mount => mount.port === port), ENDPOINT_GRACE_MS)
  }

  /** No mount may be left without a server: whoever looks at it would hang. Resolves when what can be unmounted is. */
  async end(): Promise<void> {
    const { log } = this.#options
    this.#isClosed = true
    clearInterval(this.#timer)
    this.#present = this.#list()
    const points = this.#present.map(({ mountPoint }) => mountPoint)
    await Promise.all(points.filter(point => this.#ours.has(point)).map(point => this.#unmount(point)))
    for (const point of points.filter(other => !this.#ours.has(other)))
      log(
        `${point} was not mounted by posixlake: it waits until the table is served again; umount ${shellQuoted(point)}`,
      )
  }

  async #unmount(mountPoint: string): Promise<void> {
    const { log } = this.#options
    try {
      await unmount(mountPoint, false, UNMOUNT_LIMIT_MS)
    } catch (error) {
      log(`${messageOf(error)}; it is cut off`)
      // What is held has to come to its end even if the mount cannot.
      await unmount(mountPoint, true, UNMOUNT_LIMIT_MS).catch(failure => log(messageOf(failure)))
    }
  }

  /** Cuts off all mounts that posixlake made; takes a few seconds at most. */
  async cutOff(): Promise<void> {
    const points = this.#list().map(({ mountPoint }) => mountPoint)
    const ours = points.filter(point => this.#ours.has(point))
    await Promise.all(ours.map(point => unmount(point, true, CUT_OFF_LIMIT_MS).catch(() => undefined)))
  }

  #list(): TableMount[] {
    try {
      return mountsOf(this.#options.exports, (this.#options.list ?? mounts)())
    } catch (error) {
      this.#options.log(`the mounts of this machine could not be listed: ${messageOf(error)}`)
      return this.#present
    }
  }
}
