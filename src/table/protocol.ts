import { hasInside } from '../columns/schema.ts'
import type { Field, Schema } from '../columns/types.ts'
import { TableError } from './errors.ts'
import type { ProtocolAction } from './log/actions/index.ts'
import { shown } from './log/shapes.ts'
import { isTrue } from './properties.ts'
import { VECTORS_ON_DEMAND, VECTORS_PROPERTY } from './tags.ts'

/** Reader features of PROTOCOL.md that are honoured. */
const READABLE: ReadonlySet<string> = new Set([
  'deletionVectors',
  'columnMapping',
  'timestampNtz',
  'v2Checkpoint',
  'vacuumProtocolCheck',
  'typeWidening',
  'typeWidening-preview',
  // No column need be one: delta-rs names the feature in every protocol with vectors.
  'variantType',
  'variantType-preview',
  'variantShredding',
  'variantShredding-preview',
])

/** Writer features that are honoured, or whose presence alone asks nothing of a writer (their use is checked besides). */
const WRITABLE: ReadonlySet<string> = new Set([
  ...READABLE,
  'appendOnly',
  'invariants',
  'checkConstraints',
  'generatedColumns',
  'identityColumns',
  'allowColumnDefaults',
  'changeDataFeed',
  'inCommitTimestamp',
  'inCommitTimestamp-preview',
  'domainMetadata',
  'clustering',
])

const READER_VERSION_MAX = 3
const WRITER_VERSION_MAX = 7

/** Refuses a table whose data we might misread, by the name of what it needs. */
export function checkReadable(protocol: ProtocolAction, location: string): void {
  if (protocol.minReaderVersion > READER_VERSION_MAX) {
    throw new TableError(
      'unsupported_feature',
      `${location}: the table needs reader version ${protocol.minReaderVersion}; posixlake knows versions up to ${READER_VERSION_MAX}`,
    )
  }
  const missing = (protocol.readerFeatures ?? []).filter(feature => !READABLE.has(feature))
  if (missing.length > 0) {
    throw new TableError(
      'unsupported_feature',
      `${location}: the table needs the reader feature ${shown(missing.join(', '))}, which posixlake does not support`,
    )
  }
}

/** Refuses to write a table whose rules we might break, by the name of the rule. `deletes`: rows are removed or changed. */
export function checkWritable(
  protocol: ProtocolAction,
  configuration: ReadonlyMap<string, string>,
  schema: Schema,
  deletes: boolean,
  location: string,
): void {
  const refuse = (what: string): never => {
    throw new TableError(
      'unsupported_feature',
      `${location}: the table uses ${what}, which posixlake cannot honour when it writes; the table can be read`,
    )
  }
  if (protocol.minWriterVersion > WRITER_VERSION_MAX) refuse(`writer version ${protocol.minWriterVersion}`)
  const missing = (protocol.writerFeatures ?? []).filter(feature => !WRITABLE.has(feature))
  if (missing.length > 0) refuse(`the writer feature ${shown(missing.join(', '))}`)
  if (deletes && isTrue(configuration.get('delta.appendOnly'))) {
    throw new TableError(
      'append_only',
      `${location}: the table is append-only (delta.appendOnly); rows can be added, not changed or removed`,
    )
  }
  if (deletes && isTrue(configuration.get('delta.enableChangeDataFeed'))) refuse('the change data feed')
  for (const key of configuration.keys())
    if (key.startsWith('delta.constraints.')) refuse(`the CHECK constraint ${key.slice('delta.constraints.'.length)}`)
  for (const field of schema) checkField(field, refuse)
}

/** Refuses to take files away from a table that may need them in a way we do not know of (PROTOCOL.md, "Vacuum Protocol Check"). */
export function checkVacuum(protocol: ProtocolAction, location: string): void {
  const missing = (protocol.writerFeatures ?? []).filter(feature => !WRITABLE.has(feature))
  const unknown =
    protocol.minWriterVersion > WRITER_VERSION_MAX
      ? `writer version ${protocol.minWriterVersion}`
      : missing.length > 0
        ? `the writer feature ${shown(missing.join(', '))}`
        : undefined
  if (unknown === undefined) return
  throw new TableError(
    'unsupported_feature',
    `${location}: the table uses ${unknown}, which posixlake does not know: it cannot tell which files are needed`,
  )
}

function checkField(field: Field, refuse: (what: string) => never): void {
  for (const key of Object.keys(field.metadata)) {
    if (key === 'delta.invariants') refuse(`an invariant on column ${field.name}`)
    if (key === 'delta.generationExpression') refuse(`the generated column ${field.name}`)
    if (key.startsWith('delta.identity.')) refuse(`the identity column ${field.name}`)
  }
  if (field.type.kind === 'struct') for (const child of field.type.fields) checkField(child, refuse)
}

/** True if rows are removed by deletion vectors; else the files that hold them are written anew. */
export function usesDeletionVectors(protocol: ProtocolAction, configuration: ReadonlyMap<string, string>): boolean {
  return (
    (protocol.writerFeatures ?? []).includes('deletionVectors') &&
    isTrue(configuration.get('delta.enableDeletionVectors'))
  )
}

/** True if columns have other names in the files than in the schema (PROTOCOL.md, "Column Mapping"). */
export function hasColumnMapping(protocol: ProtocolAction, configuration: ReadonlyMap<string, string>): boolean {
  const mode = configuration.get('delta.columnMapping.mode')
  const isSupported = protocol.minReaderVersion === 2 || (protocol.readerFeatures ?? []).includes('columnMapping')
  return isSupported && (mode === 'name' || mode === 'id')
}

/** True if rows are removed by deletion vectors, which the first change that needs them switches on (`VECTORS_PROPERTY`). */
export function mayUseDeletionVectors(protocol: ProtocolAction, configuration: ReadonlyMap<string, string>): boolean {
  return usesDeletionVectors(protocol, configuration) || areVectorsOnDemand(configuration)
}

/** True for a table of ours that is to stay as plain as its changes let it. */
export function areVectorsOnDemand(configuration: ReadonlyMap<string, string>): boolean {
  return configuration.get(VECTORS_PROPERTY) === VECTORS_ON_DEMAND
}

/**
 * The protocol of a table that posixlake creates: one that all readers and writers know (1 and 2), unless its columns or
 * `deletionVectors` need more.
 */
export function newProtocol(schema: Schema, configuration: ReadonlyMap<string, string> = new Map()): ProtocolAction {
  const features = [
    ...(isTrue(configuration.get('delta.enableDeletionVectors')) ? ['deletionVectors'] : []),
    ...(schema.some(({ type }) => hasInside(type, 'timestamp_ntz')) ? ['timestampNtz'] : []),
  ]
  const forWriters = isTrue(configuration.get('delta.enableInCommitTimestamps')) ? ['inCommitTimestamp'] : []
  return withFeatures({ minReaderVersion: 1, minWriterVersion: 2 }, features, forWriters)
}

/** Features that older versions of writers have by their number (PROTOCOL.md, "Supported Writer Features"). */
const BY_WRITER_VERSION: readonly (readonly [version: number, features: readonly string[]])[] = [
  [2, ['appendOnly', 'invariants']],
  [3, ['checkConstraints']],
  [4, ['changeDataFeed', 'generatedColumns']],
  [5, ['columnMapping']],
  [6, ['identityColumns']],
]

/**
 * The protocol with features that concern readers and writers, and such as concern writers alone; the same object where it
 * has them all.
 */
export function withFeatures(
  protocol: ProtocolAction,
  features: readonly string[],
  forWriters: readonly string[] = [],
): ProtocolAction {
  const { minReaderVersion, minWriterVersion } = protocol
  const writer =
    protocol.writerFeatures ??
    BY_WRITER_VERSION.flatMap(([version, names]) => (version <= minWriterVersion ? names : []))
  const reader = protocol.readerFeatures ?? (minReaderVersion >= 2 ? ['columnMapping'] : [])
  const lacksForReaders = features.some(feature => !reader.includes(feature))
  const lacksForWriters = [...features, ...forWriters].some(feature => !writer.includes(feature))
  if (!lacksForReaders && !lacksForWriters) return protocol
  const writerFeatures = [...new Set([...writer, ...features, ...forWriters])]
  if (!lacksForReaders) return { ...protocol, minWriterVersion: 7, writerFeatures }
  return {
    ...protocol,
    minReaderVersion: 3,
    minWriterVersion: 7,
    readerFeatures: [...new Set([...reader, ...features])],
    writerFeatures,
  }
}

/** The protocol once columns of a new type are there; the same object where nothing changes. */
export function protocolFor(
  protocol: ProtocolAction,
  schema: Schema,
  configuration: ReadonlyMap<string, string>,
): ProtocolAction {
  const needs = schema.some(({ type }) => hasInside(type, 'timestamp_ntz'))
  if (!needs || (protocol.readerFeatures ?? []).includes('timestampNtz')) return protocol
  const isUpgrade = protocol.minWriterVersion < 7 || protocol.minReaderVersion < 3
  if (isUpgrade && !areVectorsOnDemand(configuration)) {
    throw new TableError(
      'unsupported_feature',
      'a column of type timestamp_ntz needs a table with reader version 3 and writer version 7; posixlake upgrades no table unasked',
    )
  }
  return withFeatures(protocol, ['timestampNtz'])
}
