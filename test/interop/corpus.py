"""Makes Parquet files of every type, encoding, page version, codec, nesting and pattern of NULLs, by several writers.

corpus.py FOLDER: beside each NAME.parquet stands NAME.json with its rows as another reader or the writer itself has them, each
value in a text that loses nothing (`canonical`). Prints the names as JSON.
"""
import datetime
import decimal
import json
import math
import os
import random
import struct
import sys
import uuid

import duckdb
import fastparquet
import fastparquet.writer
import numpy
import pandas
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

folder = sys.argv[1]
names = []
ROWS = 240

# --- values as text ---------------------------------------------------------------------------------------------------------


def floored(value: int, by: int) -> int:
    return value // by


def time_text(value: int, per_second: int) -> str:
    seconds, rest = divmod(value, per_second)
    nanos = rest * (1_000_000_000 // per_second)
    clock = f"{seconds // 3600:02}:{seconds // 60 % 60:02}:{seconds % 60:02}"
    if nanos == 0:
        return clock
    return f"{clock}.{nanos // 1000:06}" if nanos % 1000 == 0 else f"{clock}.{nanos:09}"


UNITS = {"s": 1, "ms": 1_000, "us": 1_000_000, "ns": 1_000_000_000}


def canonical(value: pa.Scalar):
    """A value as posixlake has to show it, in a form that every digit is in."""
    kind = value.type
    if isinstance(kind, pa.BaseExtensionType):
        if value.value is None or not value.is_valid:
            return None
        if kind.extension_name == "arrow.uuid":
            return str(uuid.UUID(bytes=value.value.as_py()))
        return canonical(value.value)
    if not value.is_valid:
        return None
    if pa.types.is_dictionary(kind):
        return canonical(value.dictionary[value.index.as_py()])
    if pa.types.is_boolean(kind):
        return value.as_py()
    if pa.types.is_integer(kind):
        return str(value.as_py())
    if pa.types.is_floating(kind):
        number = float(value.as_py())
        return "nan" if math.isnan(number) else struct.pack(">d", number).hex()
    if pa.types.is_decimal(kind):
        return str(int(value.as_py().scaleb(kind.scale, decimal.Context(prec=80))))
    if pa.types.is_date(kind):
        return str((value.as_py() - datetime.date(1970, 1, 1)).days)
    if pa.types.is_timestamp(kind):
        return str(value.value * 1_000_000 // UNITS[kind.unit])
    if pa.types.is_time(kind):
        return time_text(value.value, UNITS[kind.unit])
    if pa.types.is_duration(kind):
        return str(value.value)
    if pa.types.is_struct(kind):
        return [canonical(value[i]) for i in range(kind.num_fields)]
    if pa.types.is_map(kind):
        entries = value.values
        keys, items = entries.field(0), entries.field(1)
        return [[canonical(keys[i]), canonical(items[i])] for i in range(len(entries))]
    if pa.types.is_nested(kind):
        return [canonical(value.values[i]) for i in range(len(value.values))]
    found = value.as_py()
    return f"x{found.hex()}" if isinstance(found, bytes) else found


def done(name: str, table: pa.Table, **facts) -> None:
    """Notes what is in a file that was written. `facts`: what a test expects of it beside the values."""
    columns = [[canonical(value) for value in column] for column in table.columns]
    rows = [list(row) for row in zip(*columns)]
    with open(os.path.join(folder, f"{name}.json"), "w") as out:
        json.dump({"columns": table.column_names, "rows": rows, **facts}, out)
    names.append(name)


# --- columns ----------------------------------------------------------------------------------------------------------------

TEXTS = ["", "a", "ü€𝄞", "\ufeffmarked", "nul\0inside", "two\nlines", '"quoted", comma', "x" * 300, "null", "\\N"]
US_MIN = -62_135_596_800_000_000  # year 1
US_MAX = 253_402_300_799_999_999  # year 9999


def integers(bits: int, signed: bool):
    low, high = (-(2 ** (bits - 1)), 2 ** (bits - 1) - 1) if signed else (0, 2**bits - 1)
    return lambda r: r.choice([low, high, 0, 1, r.randint(low, high), r.randint(0, 99)])


def floats(kind):
    edges = [0.0, -0.0, 1.5, math.nan, math.inf, -math.inf]
    return lambda r: kind(r.choice(edges + [r.uniform(-1e6, 1e6), r.uniform(-1, 1)]))


def decimals(precision: int, scale: int):
    limit = 10**precision - 1
    context = decimal.Context(prec=80)
    return lambda r: decimal.Decimal(r.choice([limit, -limit, 0, 1, -1, r.randint(-limit, limit)])).scaleb(-scale, context)


def moments(unit: str, nanos_only: bool = False):
    low, high = (-9_000_000_000_000_000, 9_000_000_000_000_000) if nanos_only else (US_MIN, US_MAX)
    per = UNITS[unit]

    def of(r):
        micros = r.choice([0, -1, low, high, r.randint(low, high), 1_700_000_000_123_456])
        value = micros * per // 1_000_000
        return value + r.randint(0, 999) if unit == "ns" else value

    return of


def text(r):
    return r.choice(TEXTS + [f"row {r.randint(0, 10**9)}"])


def few(r):
    return f"value {r.randint(0, 9)}"


def blob(r):
    return bytes(r.randint(0, 255) for _ in range(r.choice([0, 1, 3, 40])))


def day(r):
    return datetime.date(1970, 1, 1) + datetime.timedelta(days=r.choice([0, -1, -719162, 2932896, r.randint(-40000, 40000)]))


# What the engine reads in place: (name, type, value).
PLAIN = [
    ("flag", pa.bool_(), lambda r: r.random() < 0.5),
    ("i8", pa.int8(), integers(8, True)),
    ("i16", pa.int16(), integers(16, True)),
    ("i32", pa.int32(), integers(32, True)),
    ("i64", pa.int64(), integers(64, True)),
    ("u8", pa.uint8(), integers(8, False)),
    ("u16", pa.uint16(), integers(16, False)),
    ("u32", pa.uint32(), integers(32, False)),
    ("rising", pa.int64(), lambda r: r.randint(0, 3) + 10**15),
    ("f32", pa.float32(), floats(numpy.float32)),
    ("f64", pa.float64(), floats(float)),
    ("d1", pa.decimal128(1, 0), decimals(1, 0)),
    ("d9", pa.decimal128(9, 2), decimals(9, 2)),
    ("d18", pa.decimal128(18, 3), decimals(18, 3)),
    ("d19", pa.decimal128(19, 0), decimals(19, 0)),
    ("d38", pa.decimal128(38, 10), decimals(38, 10)),
    ("fraction", pa.decimal128(38, 38), decimals(38, 38)),
    ("text", pa.string(), text),
    ("few", pa.string(), few),
    ("large", pa.large_string(), text),
    ("view", pa.string_view(), text),
    ("coded", pa.dictionary(pa.int32(), pa.string()), few),
    ("bytes", pa.binary(), blob),
    ("five", pa.binary(5), lambda r: r.randbytes(5)),
    ("day", pa.date32(), day),
    ("s", pa.timestamp("s"), moments("s")),
    ("ms", pa.timestamp("ms"), moments("ms")),
    ("us", pa.timestamp("us"), moments("us")),
    ("ms_utc", pa.timestamp("ms", "UTC"), moments("ms")),
    ("us_utc", pa.timestamp("us", "UTC"), moments("us")),
    ("us_zone", pa.timestamp("us", "Europe/Berlin"), moments("us")),
    ("span", pa.duration("us"), integers(64, True)),
]
# What the engine knows nothing of, or something else.
ODD = [
    ("u64", pa.uint64(), integers(64, False)),
    ("f16", pa.float16(), lambda r: numpy.float16(r.choice([0, -0.0, 1.5, 65504, 6e-8, math.inf, math.nan, r.uniform(-9, 9)]))),
    ("t_s", pa.time32("s"), lambda r: r.choice([0, 86399, r.randint(0, 86399)])),
    ("t_ms", pa.time32("ms"), lambda r: r.choice([0, 86_399_999, r.randint(0, 86_399_999)])),
    ("t_us", pa.time64("us"), lambda r: r.choice([0, 86_399_999_999, r.randint(0, 86_399_999_999)])),
    ("t_ns", pa.time64("ns"), lambda r: r.choice([0, 86_399_999_999_999, r.randint(0, 86_399_999_999_999)])),
    ("uuid", pa.uuid(), lambda r: r.randbytes(16)),
    ("json", pa.json_(), lambda r: r.choice(['{"a": [1, null]}', '"x"', "7"])),
    ("nothing", pa.null(), lambda r: None),
    ("ns", pa.timestamp("ns"), moments("ns", True)),
    ("ns_utc", pa.timestamp("ns", "UTC"), moments("ns", True)),
]


def some(of, most: int = 3, holes: bool = True):
    """A list, sometimes empty, of values that may be NULL."""
    return lambda r: [None if holes and r.random() < 0.2 else of(r) for _ in range(r.randint(0, most))]


def record(**fields):
    return lambda r: {name: None if r.random() < 0.2 else of(r) for name, of in fields.items()}


def pairs(key, of):
    def make(r):
        found = {}
        for _ in range(r.randint(0, 3)):
            found[key(r)] = None if r.random() < 0.2 else of(r)
        return list(found.items())

    return make


i64 = integers(64, True)
PAIR = pa.struct([("a", pa.int32()), ("b", pa.string())])
pair = record(a=integers(32, True), b=text)
NESTED = [
    ("ints", pa.list_(pa.int32()), some(integers(32, True))),
    ("texts", pa.list_(pa.string()), some(text)),
    ("whole", pa.list_(pa.field("element", pa.int64(), nullable=False)), some(i64, holes=False)),
    ("deep", pa.list_(pa.list_(pa.int64())), some(some(i64))),
    ("deeper", pa.list_(pa.list_(pa.list_(pa.string()))), some(some(some(few)))),
    ("records", pa.list_(PAIR), some(pair)),
    ("record", pa.struct([("x", pa.int64()), ("y", pa.struct([("z", pa.string())]))]), record(x=i64, y=record(z=text))),
    ("inside", pa.struct([("l", pa.list_(PAIR)), ("m", pa.map_(pa.string(), pa.int64()))]), record(l=some(pair), m=pairs(few, i64))),
    ("map", pa.map_(pa.string(), pa.int64()), pairs(few, i64)),
    ("by_number", pa.map_(pa.int32(), PAIR), pairs(integers(32, True), pair)),
    ("lists", pa.map_(pa.string(), pa.list_(pa.float64())), pairs(few, some(floats(float)))),
    ("maps", pa.list_(pa.map_(pa.string(), pa.bool_())), some(pairs(few, lambda r: r.random() < 0.5))),
    ("money", pa.list_(pa.decimal128(38, 4)), some(decimals(38, 4))),
    ("moments", pa.list_(pa.timestamp("us", "UTC")), some(moments("us"))),
    ("days", pa.struct([("d", pa.date32()), ("b", pa.binary())]), record(d=day, b=blob)),
    ("large_list", pa.large_list(pa.int32()), some(integers(32, True))),
    ("three", pa.list_(pa.int32(), 3), lambda r: [r.randint(0, 9), None, r.randint(0, 9)]),
]
NESTED_ODD = [
    ("big", pa.list_(pa.uint64()), some(integers(64, False))),
    ("times", pa.struct([("t", pa.time64("us")), ("u", pa.uuid())]), lambda r: {"t": r.randint(0, 86_399_999_999), "u": r.randbytes(16)}),
    ("halves", pa.map_(pa.string(), pa.float16()), pairs(few, lambda r: numpy.float16(r.uniform(-9, 9)))),
    ("nanos", pa.list_(pa.timestamp("ns")), some(moments("ns", True))),
]


def is_null(r, pattern: str, row: int) -> bool:
    return {"none": False, "some": r.random() < 0.3, "all": True, "first": row < ROWS // 2, "last": row >= ROWS // 2}[pattern]


def column(kind, of, pattern: str, seed: str) -> pa.Array:
    r = random.Random(seed)
    values = [None if is_null(r, pattern, row) else of(r) for row in range(ROWS)]
    if isinstance(kind, pa.BaseExtensionType):
        return pa.ExtensionArray.from_storage(kind, pa.array(values, kind.storage_type))
    if pa.types.is_dictionary(kind):
        return pa.array(values, kind.value_type).dictionary_encode()
    if pa.types.is_struct(kind) and any(isinstance(field.type, pa.BaseExtensionType) for field in kind):
        parts = [pa.array([None if v is None else v[f.name] for v in values], f.type.storage_type if isinstance(f.type, pa.BaseExtensionType) else f.type) for f in kind]
        parts = [pa.ExtensionArray.from_storage(f.type, p) if isinstance(f.type, pa.BaseExtensionType) else p for f, p in zip(kind, parts)]
        return pa.StructArray.from_arrays(parts, fields=list(kind), mask=pa.array([v is None for v in values]))
    return pa.array(values, kind)


def table_of(columns, pattern: str) -> pa.Table:
    arrays = [pa.array(range(ROWS), pa.int32())] + [column(kind, of, pattern, f"{name}/{pattern}") for name, kind, of in columns]
    fields = [pa.field("id", pa.int32(), nullable=False)]
    # A column without NULLs says so in every other one.
    fields += [pa.field(n, k, nullable=pattern != "none" or i % 2 == 0) for i, (n, k, _) in enumerate(columns)]
    return pa.table(arrays, schema=pa.schema(fields))


# --- pyarrow ----------------------------------------------------------------------------------------------------------------

SETS = {"plain": PLAIN, "odd": ODD, "nested": NESTED, "nested_odd": NESTED_ODD}
IN_PLACE = ("plain", "nested")


def arrow(set_name: str, pattern: str, label: str, table=None, in_place=None, **options) -> None:
    name = f"arrow-{set_name}-{pattern}-{label}"
    table = table_of(SETS[set_name], pattern) if table is None else table
    pq.write_table(table, os.path.join(folder, f"{name}.parquet"), **options)
    done(name, table, inPlace=set_name in IN_PLACE if in_place is None else in_place)


def arrow_files() -> None:
    for set_name in SETS:
        for pattern in ("none", "some", "all", "first", "last"):
            arrow(set_name, pattern, "v1")
            arrow(set_name, pattern, "v2", data_page_version="2.0", compression="zstd", use_dictionary=False)
        for codec in ("none", "snappy", "gzip", "brotli", "zstd", "lz4"):
            for version in ("1.0", "2.0"):
                arrow(set_name, "some", f"{codec}-{version}", compression=codec, data_page_version=version)
        small = {"data_page_size": 64, "write_batch_size": 7, "compression": "none"}
        arrow(set_name, "some", "many-pages", **small)
        arrow(set_name, "first", "many-pages", **small)
        arrow(set_name, "some", "many-pages-v2", data_page_version="2.0", **small)
        arrow(set_name, "some", "one-page", data_page_size=64 << 20, use_dictionary=False)
        # A dictionary that grows too large is left in the middle of a column.
        arrow(set_name, "some", "left-dictionary", dictionary_pagesize_limit=100, write_batch_size=16, data_page_size=200)
        arrow(set_name, "some", "groups", row_group_size=37, write_page_index=True, write_page_checksum=True)
        arrow(set_name, "some", "items", use_compliant_nested_type=False, store_schema=False)
    for version in ("1.0", "2.4"):
        arrow("plain", "some", f"format-{version}", version=version)
    arrow("plain", "some", "integer-decimals", store_decimal_as_integer=True)
    arrow("plain", "none", "integer-decimals", store_decimal_as_integer=True, use_dictionary=False, data_page_version="2.0")
    arrow_encodings()
    arrow_int96()
    empty_groups()
    long_values()


def arrow_encodings() -> None:
    of_type = {
        "DELTA_BINARY_PACKED": lambda k: pa.types.is_integer(k) or pa.types.is_timestamp(k) or pa.types.is_date(k) or pa.types.is_duration(k),
        "DELTA_LENGTH_BYTE_ARRAY": lambda k: pa.types.is_string(k) or pa.types.is_large_string(k) or pa.types.is_binary(k),
        "DELTA_BYTE_ARRAY": lambda k: pa.types.is_string(k) or pa.types.is_large_string(k) or pa.types.is_binary(k) or pa.types.is_fixed_size_binary(k),
        "BYTE_STREAM_SPLIT": lambda k: pa.types.is_float32(k) or pa.types.is_float64(k),
        "RLE": pa.types.is_boolean,
        "PLAIN": lambda k: True,
    }
    for pattern in ("none", "some", "all", "first"):
        for version in ("1.0", "2.0"):
            for encoding, fits in of_type.items():
                table = table_of([c for c in PLAIN if fits(c[1])], pattern)
                encodings = {name: encoding for name in table.column_names if name != "id"}
                arrow(
                    "plain", pattern, f"{encoding.lower()}-{version}", table,
                    use_dictionary=False, column_encoding=encodings, data_page_version=version, data_page_size=400, write_batch_size=11,
                )
            split = [c for c in PLAIN + ODD if pa.types.is_integer(c[1]) or pa.types.is_decimal(c[1]) or pa.types.is_float16(c[1]) or c[0] in ("five", "us", "uuid")]
            table = table_of(split, pattern)
            arrow(
                "odd", pattern, f"split-all-{version}", table,
                use_dictionary=False, column_encoding={n: "BYTE_STREAM_SPLIT" for n in table.column_names if n != "id"}, data_page_version=version,
            )
    # Values that share much with the one before.
    urls = pa.array([f"https://example.org/{i // 9:05}/page-{i:07}?x={'y' * (i % 5)}" for i in range(ROWS)])
    table = pa.table({"id": pa.array(range(ROWS), pa.int32()), "url": urls, "list": pa.array([[u, u[:9], None] for u in urls.to_pylist()])})
    for version in ("1.0", "2.0"):
        arrow(
            "plain", "none", f"shared-{version}", table, in_place=True, use_dictionary=False, data_page_size=300, write_batch_size=10,
            column_encoding={"url": "DELTA_BYTE_ARRAY", "list.list.element": "DELTA_BYTE_ARRAY"}, data_page_version=version,
        )


def arrow_int96() -> None:
    columns = [c for c in PLAIN if pa.types.is_timestamp(c[1])]
    columns = [(name, kind, moments(kind.unit, True)) for name, kind, _ in columns]
    for pattern in ("none", "some"):
        table = table_of(columns, pattern)
        # INT96 is a moment in UTC.
        arrow("plain", pattern, "int96", table, use_deprecated_int96_timestamps=True)
    nanos = table_of([("ns", pa.timestamp("ns"), moments("ns", True))], "some")
    name = "arrow-int96-nanos"
    pq.write_table(nanos, os.path.join(folder, f"{name}.parquet"), use_deprecated_int96_timestamps=True)
    done(name, nanos, inPlace=True)


def empty_groups() -> None:
    """Row groups without rows, at each place, and files without rows or without row groups."""
    for set_name in SETS:
        table = table_of(SETS[set_name], "some")
        empty = table.slice(0, 0)
        for label, parts in {"first": [empty, table], "middle": [table.slice(0, 100), empty, empty, table.slice(100)], "last": [table, empty], "only": [empty]}.items():
            name = f"arrow-{set_name}-empty-group-{label}"
            with pq.ParquetWriter(os.path.join(folder, f"{name}.parquet"), table.schema) as writer:
                for part in parts:
                    writer.write_batch(part.combine_chunks().to_batches()[0]) if part.num_rows > 0 else writer.write_table(part)
            done(name, pa.concat_tables(parts), inPlace=set_name in IN_PLACE)
    name = "arrow-plain-no-groups"
    schema = table_of(PLAIN, "some").schema
    pq.ParquetWriter(os.path.join(folder, f"{name}.parquet"), schema).close()
    done(name, schema.empty_table(), inPlace=True)


def long_values() -> None:
    """Pages far larger than usual, of values of a megabyte."""
    r = random.Random("long")
    values = ["".join(r.choices("abcdef", k=1000)) * 1000 if i % 60 == 0 else f"{i}" for i in range(ROWS)]
    table = pa.table({"id": pa.array(range(ROWS), pa.int32()), "text": values})
    for label, options in {"v1": {}, "v2": {"data_page_version": "2.0"}, "delta": {"column_encoding": {"text": "DELTA_BYTE_ARRAY"}}}.items():
        arrow("plain", "none", f"long-{label}", table, use_dictionary=False, data_page_size=16 << 20, **options)


# --- DuckDB -----------------------------------------------------------------------------------------------------------------

DUCK = """SELECT i::INTEGER AS id, (i * 7 % 256 - 128)::TINYINT AS i8, (i * 200 - 30000)::SMALLINT AS i16, i::BIGINT * 9007199254740993 AS i64,
  i::UTINYINT AS u8, (65535 - i)::USMALLINT AS u16, (4294967295 - i)::UINTEGER AS u32, (i / 7)::FLOAT AS f32, (i / 7)::DOUBLE AS f64, i % 3 = 0 AS flag,
  (i * 1.25)::DECIMAL(9,2) AS d9, (i * -1.25)::DECIMAL(18,3) AS d18, (i * 123456789012345678::DECIMAL(28,0))::DECIMAL(38,10) AS d38,
  'few ' || (i % 10) AS few, 'ü ' || i AS text, ('\\x00\\xFF' || i)::BLOB AS bytes, DATE '1969-12-25' + i::INTEGER AS day,
  TIMESTAMP '1969-12-31 23:59:59.999999' + to_microseconds(i) AS us, TIMESTAMPTZ '1960-01-01 00:00:00.000001+00' + to_days(i::INTEGER) AS utc,
  TIMESTAMP_MS '1969-12-31 23:59:59.999' AS ms, TIMESTAMP_S '1969-12-31 23:59:59' AS s, ('v' || (i % 3))::ENUM('v0', 'v1', 'v2') AS enum"""
DUCK_ODD = """SELECT i::INTEGER AS id, (18446744073709551615 - i)::UBIGINT AS u64, TIME '00:00:00.000001' + to_seconds(i * 300) AS t,
  uuid() AS uuid, TIMESTAMP_NS '1969-12-31 23:59:59.123456789' AS ns, '{"a": 1}'::JSON AS json, NULL AS nothing"""
DUCK_NESTED = """SELECT i::INTEGER AS id, CASE WHEN i % 4 = 0 THEN NULL WHEN i % 4 = 1 THEN [] ELSE [i::INTEGER, NULL] END AS l,
  CASE WHEN i % 5 = 0 THEN NULL ELSE {'x': i::INTEGER, 'y': {'z': CASE WHEN i % 2 = 0 THEN 'e' END}} END AS s,
  CASE WHEN i % 4 = 0 THEN NULL WHEN i % 4 = 1 THEN MAP {} ELSE MAP {'k' || i: i::BIGINT, 'n': NULL} END AS m,
  CASE WHEN i % 3 = 0 THEN [] ELSE [{'p': [i::INTEGER], 'q': NULL::VARCHAR}, NULL] END AS ls, [i, i + 1]::INTEGER[2] AS fixed"""


def duck_files() -> None:
    connection = duckdb.connect()
    connection.execute("SET TimeZone = 'UTC'")
    sets = {"plain": DUCK, "odd": DUCK_ODD, "nested": DUCK_NESTED}
    for set_name, select in sets.items():
        query = f"{select} FROM range({ROWS}) t(i)"
        if set_name != "nested":
            query = f"{query} UNION ALL BY NAME SELECT {ROWS}::INTEGER AS id"
        options = {
            **{codec: f"COMPRESSION {codec}" for codec in ("uncompressed", "snappy", "gzip", "zstd", "brotli", "lz4_raw")},
            "v2": "PARQUET_VERSION V2",
            "v2-plain": "PARQUET_VERSION V2, DICTIONARY_SIZE_LIMIT 1",
            "groups": "ROW_GROUP_SIZE 30",
        }
        connection.execute(f"CREATE TABLE {set_name} AS {query}")
        rows = connection.execute(f"FROM {set_name}").to_arrow_table()
        for label, option in options.items():
            name = f"duckdb-{set_name}-{label}"
            path = os.path.join(folder, f"{name}.parquet")
            connection.execute(f"COPY {set_name} TO '{path}' (FORMAT parquet, {option})")
            done(name, rows, inPlace=set_name != "odd")


# --- fastparquet ------------------------------------------------------------------------------------------------------------


def fast_frame(with_nulls: bool) -> pandas.DataFrame:
    r = random.Random("fast")
    holes = numpy.array([with_nulls and r.random() < 0.3 for _ in range(ROWS)])
    text_values = [None if hole else text(r) for hole in holes]
    frame = {
        "id": numpy.arange(ROWS, dtype="int32"),
        "i64": numpy.array([integers(64, True)(r) for _ in range(ROWS)], dtype="int64"),
        "u8": numpy.array([integers(8, False)(r) for _ in range(ROWS)], dtype="uint8"),
        "f64": numpy.array([math.nan if hole else r.uniform(-1e9, 1e9) for hole in holes]),
        "f32": numpy.array([r.uniform(-1, 1) for _ in range(ROWS)], dtype="float32"),
        "flag": numpy.array([r.random() < 0.5 for _ in range(ROWS)]),
        "nullable": pandas.array([None if hole else r.randint(-9, 9) for hole in holes], dtype="Int32"),
        "maybe": pandas.array([None if hole else r.random() < 0.5 for hole in holes], dtype="boolean"),
        "text": pandas.Series(text_values, dtype="object"),
        "coded": pandas.Categorical([None if hole else few(r) for hole in holes]),
    }
    return pandas.DataFrame(frame)


def fast_files() -> None:
    for page_version in (1, 2):
        fastparquet.writer.DATAPAGE_VERSION = page_version
        for codec in ("UNCOMPRESSED", "SNAPPY", "GZIP", "BROTLI", "ZSTD", "LZ4", "LZ4_RAW"):
            for with_nulls in (False, True):
                name = f"fastparquet-v{page_version}-{codec.lower()}-{'nulls' if with_nulls else 'whole'}"
                fast(name, fast_frame(with_nulls), compression=codec, in_place=codec != "LZ4")
        frame = fast_frame(True)
        fast(f"fastparquet-v{page_version}-groups", frame, row_group_offsets=[0, 50, 51, 200])
        times = pandas.DataFrame(
            {
                "id": numpy.arange(ROWS, dtype="int32"),
                "at": pandas.Series(pandas.date_range("1969-12-31 23:59:00", periods=ROWS, freq="1s")).astype("datetime64[us]"),
                "zoned": pandas.Series(pandas.date_range("1999-12-31", periods=ROWS, freq="1h", tz="UTC")).astype("datetime64[us, UTC]"),
            }
        )
        fast(f"fastparquet-v{page_version}-int64-times", times)
        fast(f"fastparquet-v{page_version}-int96-times", times[["id", "at"]], times="int96")


def fast(name: str, frame: pandas.DataFrame, in_place: bool = True, **options) -> None:
    path = os.path.join(folder, f"{name}.parquet")
    fastparquet.write(path, frame, **options)
    done(name, pq.ParquetFile(path).read(), inPlace=in_place)


arrow_files()
duck_files()
fast_files()
print(json.dumps(names))
