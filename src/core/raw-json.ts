type RawJson = typeof JSON & { rawJSON(text: string): unknown }

/** A number that JSON.stringify writes as it was read, with all its digits. */
export function rawNumber(source: string): unknown {
  return (JSON as RawJson).rawJSON(source)
}

/** For JSON.parse: an integer that a double cannot hold is written back as it was read. */
export function keepLargeIntegers(_key: string, value: unknown, context: { source: string }): unknown {
  if (typeof value !== 'number' || Number.isSafeInteger(value) || !/^-?\d+$/.test(context.source)) return value
  return rawNumber(context.source)
}
