"""Other readers and writers of Delta tables: engines.py OPERATION ARGUMENT ... prints JSON."""
import glob
import json
import os
import sys

import deltalake
import duckdb
import duckdb_extension_delta
import pyarrow


def duck_rows(table: str, sql: str) -> list:
    """The rows of a query on `data` by DuckDB's own delta extension, as text."""
    connection = duckdb.connect(config={"allow_unsigned_extensions": "true"})
    folder = os.path.dirname(duckdb_extension_delta.__file__)
    (extension,) = glob.glob(f"{folder}/extensions/*/delta.duckdb_extension")
    connection.execute(f"LOAD '{extension}'")
    connection.execute("SET TimeZone = 'UTC'")
    connection.execute(f"CREATE VIEW data AS FROM delta_scan('{table}')")
    return [list(row) for row in connection.execute(sql).fetchall()]


def rust_rows(table: str, sql: str) -> list:
    """The rows of a query on `data` by delta-rs."""
    builder = deltalake.QueryBuilder().register("data", deltalake.DeltaTable(table))
    result = pyarrow.table(builder.execute(sql).read_all())
    return [list(row.values()) for row in result.to_pylist()]


def pandas_rows(table: str) -> list:
    """All rows by pandas through delta-rs and pyarrow, which knows no deletion vectors, in the order of the first column."""
    frame = deltalake.DeltaTable(table).to_pandas()
    frame = frame.sort_values(frame.columns[0])
    return json.loads(frame.to_json(orient="values", date_format="iso"))


def rust_append(table: str, rows: str) -> int:
    """Appends rows (a JSON array of objects), making the table if there is none."""
    data = pyarrow.Table.from_pylist(json.loads(rows))
    deltalake.write_deltalake(table, data, mode="append")
    return deltalake.DeltaTable(table).version()


def rust_append_each(table: str, batches: str) -> int:
    """Appends batches of rows (a JSON array of arrays of objects), each by a commit of its own."""
    for rows in json.loads(batches):
        deltalake.write_deltalake(table, pyarrow.Table.from_pylist(rows), mode="append")
    return deltalake.DeltaTable(table).version()


def rust_delete(table: str, predicate: str) -> int:
    """Deletes rows, which delta-rs does by writing files anew."""
    found = deltalake.DeltaTable(table)
    found.delete(predicate)
    return found.version()


operation, *arguments = sys.argv[1:]
print(json.dumps(globals()[operation](*arguments)))
