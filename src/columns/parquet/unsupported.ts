/** A part of the format that is not read, by its name. The caller adds file and column, and makes it a ParquetError. */
export class UnsupportedError extends Error {}
