import { buffersOf, runTask, type Task, toFailure } from './tasks.ts'

declare const self: Worker

/** The thread behind a WorkerPool: runs the tasks it is sent, one after the other. */
self.onmessage = async (event: MessageEvent<{ id: number; task: Task }>) => {
  const { id, task } = event.data
  try {
    const result = await runTask(task)
    // A rendering fills the front of a larger buffer: only the text itself crosses, and without a copy. (`slice` of a
    // Buffer would be no copy.)
    const isSmall = result.bytes.byteLength * 2 < result.bytes.buffer.byteLength
    const sent = { ...result, bytes: isSmall ? new Uint8Array(result.bytes) : result.bytes }
    self.postMessage({ id, result: sent }, buffersOf(sent))
  } catch (error) {
    self.postMessage({ id, failure: toFailure(error) })
  }
}
