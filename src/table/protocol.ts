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
  'rowTracking',
  'clustering',
])

/** The property of a table that has a change data feed. */
export const FEED_PROPERTY = 'delta.enableChangeDataFeed'

/** The property of a table whose rows keep their ids. */
export const TRACKING_PROPERTY = 'delta.enableRowTracking'

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
  for (const { type } of schema) if (type.kind === 'struct') checkMembers(type.fields, refuse)
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

/** Only columns are generated or identities; nobody has said what that is to mean of a member of one. */
function checkMembers(fields: readonly Field[], refuse: (what: string) => never): void {
  for (const { name, metadata, type } of fields) {
    for (const key of Object.keys(metadata)) {
      if (key === 'delta.generationExpression') refuse(`the generated member ${name} of a column`)
      if (key.startsWith('delta.identity.')) refuse(`the identity member ${name} of a column`)
    }
    if (type.kind === 'struct') checkMembers(type.fields, refuse)
  }
}

/** True if rows are removed by deletion vectors; else the files that hold them are written anew. */
export function usesDeletionVectors(protocol: ProtocolAction, configuration: ReadonlyMap<string, string>): boolean {
  return (
    (protocol.writerFeatures ?? []).includes('deletionVectors') &&
    isTrue(configuration.get('delta.enableDeletionVectors'))
  )
}

/** True if checkpoints are written in the form of version 2 (PROTOCOL.md, "V2 Checkpoint Table Feature"). */
export function usesV2Checkpoints(
  { readerFeatures }: ProtocolAction,
  configuration: ReadonlyMap<string, string>,
): boolean {
  return (readerFeatures ?? []).includes('v2Checkpoint') && configuration.get('delta.checkpointPolicy') === 'v2'
}

/** True if a change of rows must tell which it changed (PROTOCOL.md, "Writer Requirements for AddCDCFile"). */
export function hasChangeFeed(protocol: ProtocolAction, configuration: ReadonlyMap<string, string>): boolean {
  const { minWriterVersion, writerFeatures } = protocol
  const isSupported = minWriterVersion >= 7 ? (writerFeatures ?? []).includes('changeDataFeed') : minWriterVersion >= 4
  return isSupported && isTrue(configuration.get(FEED_PROPERTY))
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
  const plain = { minReaderVersion: 1, minWriterVersion: 2 }
  const known = isTrue(configuration.get('delta.enableInCommitTimestamps'))
    ? withFeatures(plain, [], ['inCommitTimestamp'])
    : plain
  return protocolWith(known, schema, configuration)
}

/** The features that properties ask for (PROTOCOL.md, "Table Features"); those of which either one does stand together. */
const BY_PROPERTY: readonly (readonly [property: string, asks: (value: string) => boolean, features: string[]])[] = [
  ['delta.enableDeletionVectors', isTrue, ['deletionVectors']],
  ['delta.columnMapping.mode', mode => mode === 'name' || mode === 'id', ['columnMapping']],
  ['delta.enableTypeWidening', isTrue, ['typeWidening', 'typeWidening-preview']],
  ['delta.checkpointPolicy', policy => policy === 'v2', ['v2Checkpoint']],
]

/** The features that concern readers which columns and properties ask for and a protocol has not. */
function featuresFor(
  { readerFeatures = [] }: ProtocolAction,
  schema: Schema,
  configuration: ReadonlyMap<string, string>,
): string[] {
  const asked = BY_PROPERTY.flatMap(([property, asks, features]) => {
    const value = configuration.get(property)
    const isThere = features.some(feature => readerFeatures?.includes(feature))
    return value !== undefined && asks(value) && !isThere ? [features[0]!] : []
  })
  return schema.some(({ type }) => hasInside(type, 'timestamp_ntz')) ? [...asked, 'timestampNtz'] : asked
}

/** The protocol of a table once its columns and properties are these; the same object where it has what they need. */
export function protocolWith(
  protocol: ProtocolAction,
  schema: Schema,
  configuration: ReadonlyMap<string, string>,
): ProtocolAction {
  const forWriters = [
    ...(isTrue(configuration.get(FEED_PROPERTY)) ? ['changeDataFeed'] : []),
    ...(isTrue(configuration.get(TRACKING_PROPERTY)) ? ['rowTracking', 'domainMetadata'] : []),
  ]
  return withFeatures(protocol, featuresFor(protocol, schema, configuration), forWriters)
}

/** Features that older versions of writers have by their number (PROTOCOL.md, "Supported Writer Features"). */
const BY_WRITER_VERSION: readonly (readonly [version: number, features: readonly string[]])[] = [
  [2, ['appendOnly', 'invariants']],
  [3, ['checkConstraints']],
  [4, ['changeDataFeed', 'generatedColumns']],
  [5, ['columnMapping']],
  [6, ['identityColumns']],
]

/** True if writers of a table have to know of a feature, by its name or by the version of writers. */
export function hasWriterFeature(protocol: ProtocolAction, feature: string): boolean {
  return featuresOf(protocol).includes(feature)
}

function featuresOf({ minWriterVersion, writerFeatures: named }: ProtocolAction): readonly string[] {
  return named ?? BY_WRITER_VERSION.flatMap(([version, names]) => (version <= minWriterVersion ? names : []))
}

/** The protocol of a table that has CHECK constraints; the same object where that is known of it. */
export function withConstraints(protocol: ProtocolAction): ProtocolAction {
  if (hasWriterFeature(protocol, 'checkConstraints')) return protocol
  // Older writers know the version, and not the names.
  return protocol.writerFeatures == null
    ? { ...protocol, minWriterVersion: 3 }
    : withFeatures(protocol, [], ['checkConstraints'])
}

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
  const writer = featuresOf(protocol)
  const reader = protocol.readerFeatures ?? (minReaderVersion >= 2 ? ['columnMapping'] : [])
  const lacksForReaders = features.some(feature => !reader.includes(feature))
  const lacksForWriters = [...features, ...forWriters].some(feature => !writer.includes(feature))
  if (!lacksForReaders && !lacksForWriters) return protocol
  const isOldEnough = protocol.writerFeatures === undefined && [...features, ...forWriters].join() === 'columnMapping'
  // Versions that have no lists of features, and so are known to more readers, have it, too.
  if (isOldEnough) return { ...protocol, minReaderVersion: 2, minWriterVersion: Math.max(5, minWriterVersion) }
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
