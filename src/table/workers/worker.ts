import { buffersOf, runTask, type Task, toFailure } from './tasks.ts'

declare const self: Worker

/** The thread behind a WorkerPool: runs the tasks it is sent, one after the other. */
self.onmessage = async (event: MessageEvent<{ id: number; task: Task }>) => {
  const { id, task } = event.data
  try {
    const result = await runTask(task)
    const sent = 'files' in result ? result : { ...result, bytes: compact(result.bytes) }
    self.postMessage({ id, result: sent }, buffersOf(sent))
  } catch (error) {
    self.postMessage({ id, failure: toFailure(error) })
  }
}

/**
 * A rendering fills the front of a larger buffer: only the text itself crosses, and without a copy where it is most of it.
 * (`slice` of a Buffer would be no copy.)
 */
function compact(bytes: Uint8Array): Uint8Array {
  return bytes.byteLength * 2 < bytes.buffer.byteLength ? new Uint8Array(bytes) : bytes
}
