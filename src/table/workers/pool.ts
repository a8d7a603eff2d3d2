import { availableParallelism } from 'node:os'
import type { RenderedText } from '../../columns/text/rendered.ts'
import { messageOf } from '../../core/errors.ts'
import {
  buffersOf,
  type EncodedFiles,
  type EncodeTask,
  fromFailure,
  type RenderTask,
  type Task,
  type TaskFailure,
} from './tasks.ts'

const THREADS_MAX = 4

interface Pending {
  readonly task: Task
  readonly resolve: (result: never) => void
  readonly reject: (error: Error) => void
}

interface Thread {
  readonly worker: Worker
  pending: Pending | undefined
}

type Answer = { readonly id: number; readonly result?: RenderedText | EncodedFiles; readonly failure?: TaskFailure }

/** In the executable everything lies in one file, and the entry points beside it by their paths below `src`. */
function workerUrl(): string {
  const path = import.meta.url.includes('/$bunfs/') ? './table/workers/worker.js' : './worker.ts'
  return new URL(path, import.meta.url).href
}

/** Threads that decode, render and encode, so that the main thread can go on answering. Started when first needed. */
export class WorkerPool {
  readonly threads: number
  readonly #threads: Thread[] = []
  readonly #queue: Pending[] = []
  #closed = false

  constructor(options: { readonly threads?: number } = {}) {
    this.threads = options.threads ?? Math.min(THREADS_MAX, Math.max(1, availableParallelism()))
  }

  /** Rejects with ParquetError. Earlier tasks go first. The fetched bytes are given away. */
  render(task: Omit<RenderTask, 'kind'>): Promise<RenderedText> {
    return this.#run({ ...task, kind: 'render' }) as Promise<RenderedText>
  }

  /** Rejects with TextError. `bytes` are given away. */
  encode(task: Omit<EncodeTask, 'kind'>): Promise<EncodedFiles> {
    return this.#run({ ...task, kind: 'encode' }) as Promise<EncodedFiles>
  }

  /** Starts the threads now, so that the first task need not wait for their code to be loaded. */
  start(): void {
    while (!this.#closed && this.#start() !== undefined);
    for (const { worker, pending } of this.#threads) if (pending === undefined) worker.unref()
  }

  /** True if there are threads, so that a task need not wait until one has begun. */
  get isStarted(): boolean {
    return this.#threads.length > 0
  }

  /** Tasks that wait for a thread. */
  get waiting(): number {
    return this.#queue.length
  }

  /** Ends the threads; tasks under way are rejected. */
  async close(): Promise<void> {
    this.#closed = true
    const ended = new Error('the worker pool was closed')
    for (const pending of this.#queue.splice(0)) pending.reject(ended)
    for (const thread of this.#threads.splice(0)) {
      thread.pending?.reject(ended)
      thread.worker.terminate()
    }
  }

  #run(task: Task): Promise<RenderedText | EncodedFiles> {
    if (this.#closed) return Promise.reject(new Error('the worker pool was closed'))
    return new Promise((resolve, reject) => {
      this.#queue.push({ task, resolve: resolve as Pending['resolve'], reject })
      this.#next()
    })
  }

  #next(): void {
    while (this.#queue.length > 0) {
      const thread = this.#threads.find(candidate => candidate.pending === undefined) ?? this.#start()
      if (thread === undefined) return
      const pending = this.#queue.shift()!
      thread.pending = pending
      const { task } = pending
      // A process with nothing else to do may end, but not while a task is under way.
      thread.worker.ref()
      try {
        thread.worker.postMessage({ id: 0, task }, buffersOf(task))
      } catch (error) {
        // What cannot cross (bytes that were given away before) fails its own task, and the thread takes the next one.
        thread.pending = undefined
        thread.worker.unref()
        pending.reject(error instanceof Error ? error : new Error(messageOf(error)))
      }
    }
  }

  #start(): Thread | undefined {
    if (this.#threads.length >= this.threads) return undefined
    const worker = new Worker(workerUrl())
    const thread: Thread = { worker, pending: undefined }
    worker.onmessage = (event: MessageEvent<Answer>) => this.#answer(thread, event.data)
    worker.onerror = event => this.#died(thread, event.message)
    worker.addEventListener('close', () => this.#died(thread, 'it ended'))
    this.#threads.push(thread)
    return thread
  }

  #answer(thread: Thread, { result, failure }: Answer): void {
    const pending = thread.pending
    thread.pending = undefined
    thread.worker.unref()
    if (failure !== undefined) pending?.reject(fromFailure(failure))
    else pending?.resolve(result as never)
    this.#next()
  }

  /** A thread that died fails its task and is replaced by the next one that is needed. */
  #died(thread: Thread, why: string): void {
    const at = this.#threads.indexOf(thread)
    if (at < 0) return
    this.#threads.splice(at, 1)
    thread.pending?.reject(new Error(`a worker thread failed: ${why}`))
    thread.pending = undefined
    thread.worker.terminate()
    this.#next()
  }
}
