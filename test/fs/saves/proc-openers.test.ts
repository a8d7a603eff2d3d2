import { expect, test } from 'bun:test'
import { mkdirSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { ProcOpeners } from '../../../src/fs/saves/proc-openers.ts'
import { temporaryFolder } from '../../helpers/temporary.ts'

const PF_EXITING_AND_SIGNALED = 0x404
const SIGTERM = 15

test('a killed writer is named as it was in the end: a shell opens a file, and then becomes another program', () => {
  using proc = temporaryFolder()
  // proc_pid_stat(5): 9 is flags, 22 the start time, 52 the exit code.
  const fields = Array.from({ length: 52 }, () => '0')
  Object.assign(fields, { 0: '7', 1: '(cat)', 2: 'D', 8: PF_EXITING_AND_SIGNALED, 21: '99', 51: SIGTERM })
  mkdirSync(join(proc.path, '7'))
  writeFileSync(join(proc.path, '7/stat'), `${fields.join(' ')}\n`)
  const openers = new ProcOpeners({ ports: () => [], proc: proc.path })
  const seen = { pid: 7, parent: 1, command: 'bash', descriptor: 1, position: 0, append: false, waits: false }
  expect(openers.killedBy({ ...seen, startTime: '99' })).toEqual({ pid: 7, command: 'cat', signal: SIGTERM })
  // The number is another process's by now.
  expect(openers.killedBy({ ...seen, startTime: '98' })).toBeUndefined()
})
