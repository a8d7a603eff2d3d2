/** The name of a file that took another's place: that one's name, the place, and an id. */
const REPLACEMENT = /^(.*\.[\d.]+)-[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}$/s

/** A new path for a data file. `number` counts those that are written together; `folder` is that of a partition. */
export function newDataPath(number: number, folder = ''): string {
  const name = `part-${String(number).padStart(5, '0')}-${crypto.randomUUID()}.snappy.parquet`
  return folder === '' ? name : `${folder}/${name}`
}

/**
 * A new path for a file that takes the place of the one at `path`, and has its time: it sorts where that one did among
 * files of the same time. `number` counts the files that take the place together. One that is outside of the table gives
 * its place to a file in it.
 */
export function pathInPlaceOf(path: string, number = 0): string {
  const stem = (path.startsWith('/') ? path.slice(path.lastIndexOf('/') + 1) : path).replace(/\.parquet$/, '')
  const place = REPLACEMENT.exec(stem)?.[1] ?? `${stem}.0`
  return `${place}${number === 0 ? '' : `.${String(number).padStart(5, '0')}`}-${crypto.randomUUID()}.parquet`
}

/** True if a path is one that `pathInPlaceOf` gives. */
export function isInPlaceOfOther(path: string): boolean {
  return REPLACEMENT.test(path.replace(/\.parquet$/, ''))
}

/** Stands for NULL in the name of a folder, as Hive has it. */
const NULL_FOLDER = '__HIVE_DEFAULT_PARTITION__'

/** The folder of one partition value. Only the log is asked for values; the name is for people and other tools. */
export function partitionFolder(column: string, value: string | null): string {
  const name = `${folderText(column)}=${value === null ? NULL_FOLDER : folderText(value)}`
  const bytes = Buffer.from(name)
  if (bytes.length <= NAME_BYTES_MAX) return name
  // A part of a character at the end becomes nothing.
  const start = bytes
    .subarray(0, SHORTENED_BYTES)
    .toString()
    .replace(/\ufffd+$|%[0-9A-F]?$/, '')
  return `${start}-${Bun.hash(name).toString(16).padStart(16, '0')}`
}

/** The longest name that file systems take, and what is kept of a longer one in front of its hash. */
const NAME_BYTES_MAX = 255
const SHORTENED_BYTES = 200

/** Characters that folder names of partitions escape, as Hive does. */
function folderText(text: string): string {
  return text.replace(
    /[\p{Cc}"#%'*/:=?\\{}[\]^]/gu,
    char => `%${char.charCodeAt(0).toString(16).toUpperCase().padStart(2, '0')}`,
  )
}
