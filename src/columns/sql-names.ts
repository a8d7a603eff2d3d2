/**
 * Words that are no names in Spark SQL: those that its ANSI mode reserves (docs/sql-ref-ansi-compliance.md), those that
 * cannot be an alias in its default mode, and TRUE, which stands for the value wherever a column is meant.
 */
const RESERVED: ReadonlySet<string> = new Set(
  `all and anti any as authorization both call case cast check collate collation collations column constraint create cross
   current_date current_path current_schema current_time current_timestamp current_user distinct else end escape except
   execute false fetch filter for foreign from full grant group having in inner intersect into is join lateral leading left
   localtime minus natural not null offset on only or order outer overlaps primary recursive references right select semi
   session_user setminus some sql table then time to trailing true union unique unknown user using when where with within`
    .split(/\s+/)
    .filter(word => word !== ''),
)

/** A name as Spark SQL writes it: in backticks unless it is plain and no reserved word. */
export function sqlName(name: string): string {
  const isPlain = /^[a-z_][a-z0-9_]*$/i.test(name) && !RESERVED.has(name.toLowerCase())
  return isPlain ? name : `\`${name.replaceAll('`', '``')}\``
}

/** Text as a literal of Spark SQL, in one line. */
export function sqlText(text: string): string {
  const escapes: Readonly<Record<string, string>> = { '\n': '\\n', '\r': '\\r', '\t': '\\t', '\0': '\\0' }
  return `'${text.replace(/['\\]/g, '\\$&').replace(/[\n\r\t\0]/g, mark => escapes[mark]!)}'`
}
