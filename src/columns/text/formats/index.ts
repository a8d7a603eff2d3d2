import { csv } from './csv.ts'
import type { TextFormat, TextInput } from './format.ts'
import { json } from './json.ts'
import { jsonLines } from './json-lines.ts'

export type {
  FieldCut,
  Frame,
  HeaderNaming,
  RecordedSize,
  RowCut,
  RowNaming,
  TextFormat,
  TextInput,
  TypeInference,
} from './format.ts'
export { csv, json, jsonLines }

/** All text forms of rows: a new one is its object, and a line here. */
export const textFormats = [csv, json, jsonLines] as const

export type TextFormatName = (typeof textFormats)[number]['name']

/** The form of a name, which is one of the list's. */
export function textFormat(name: string): TextFormat<TextFormatName> {
  const found = textFormats.find(format => format.name === name)
  if (found === undefined) throw new Error(`there is no text format ${name}`)
  return found
}

/** Returns the parser of a form. Throws for one that is only shown. */
export function inputOf({ name, input }: TextFormat): TextInput {
  if (input === undefined) throw new Error(`data.${name} is read-only`)
  return input
}
