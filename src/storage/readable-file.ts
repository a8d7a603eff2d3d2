/** Random access to the bytes of one file, wherever it is. */
export interface ReadableFile {
  /** For messages. */
  readonly name: string
  readonly sizeBytes: number
  /** The bytes [start, end); fewer only where the file is shorter than it was. */
  read(start: number, end: number): Promise<Uint8Array>
}
