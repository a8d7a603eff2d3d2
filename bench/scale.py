"""What bench/scale.ts measures of delta-rs. With an operation and a table it does that once; without, it does what it is told
by lines of JSON, in one process that stays, and tells for each the seconds on the wall and of the processor."""

import json
import sys
import time

import pyarrow as pa
from deltalake import DeltaTable, write_deltalake

held = {}


def row():
    return pa.table({"id": pa.array([-1], pa.int64()), "name": ["appended"], "value": pa.array([1], pa.int64())})


def open_table(uri):
    DeltaTable(uri)


def count(uri):
    return DeltaTable(uri).count()


def append(uri):
    write_deltalake(uri, row(), mode="append")


def append_held(uri):
    """Appends to a table that the process has opened before."""
    write_deltalake(held[uri], row(), mode="append")


def hold(uri):
    held[uri] = DeltaTable(uri)


def delete(uri, rows):
    """Deletes 1,000 of so many rows, all over the table."""
    DeltaTable(uri).delete(f"id % {rows // 1000} = 1")


def merge(uri, rows, count):
    """Merges so many rows, half of which are there."""
    ids = [i * (rows // count) + (i % 2) * rows for i in range(count)]
    source = pa.table(
        {"id": pa.array(ids, pa.int64()), "name": ["merged"] * count, "value": pa.array(range(count), pa.int64())}
    )
    merging = DeltaTable(uri).merge(source, predicate="t.id = s.id", source_alias="s", target_alias="t")
    merging.when_matched_update_all().when_not_matched_insert_all().execute()


operations = {
    "open": open_table,
    "count": count,
    "append": append,
    "append_held": append_held,
    "hold": hold,
    "delete": delete,
    "merge": merge,
}


def main():
    if len(sys.argv) > 1:
        operation, uri, *numbers = sys.argv[1:]
        print(operations[operation](uri, *map(int, numbers)))
        return
    for line in sys.stdin:
        operation, uri, *numbers = json.loads(line)
        began, busy = time.perf_counter(), time.process_time()
        operations[operation](uri, *numbers)
        print(json.dumps([time.perf_counter() - began, time.process_time() - busy]), flush=True)


main()
