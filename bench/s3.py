"""What bench/s3.ts measures of other engines: s3.py OPERATION TABLE [ARGUMENT]. The store is told by AWS_* variables."""

import json
import os
import sys
import time

import pyarrow as pa
import pyarrow.csv as pacsv
from deltalake import DeltaTable, QueryBuilder, write_deltalake

operation, uri, *arguments = sys.argv[1:]
options = {"allow_http": "true", "aws_endpoint_url": os.environ["AWS_ENDPOINT_URL"]}


def table():
    return DeltaTable(uri, storage_options=options)


def query(text):
    return QueryBuilder().register("data", table()).execute(text)


def read(path):
    found = query("SELECT * FROM data")
    # Arrow's writer takes no views of text.
    schema = pa.schema([(f.name, pa.string() if f.type == pa.string_view() else f.type) for f in pa.schema(found.schema)])
    with pacsv.CSVWriter(path, schema, write_options=pacsv.WriteOptions(quoting_style="needed")) as writer:
        for batch in found:
            writer.write_table(pa.Table.from_batches([pa.record_batch(batch)]).cast(schema))


def head():
    print(query("SELECT * FROM data LIMIT 1").read_all())


def sql(text):
    print(query(text).read_all())


def duck(text):
    import duckdb
    import pyarrow.dataset
    import pyarrow.fs

    host = os.environ["AWS_ENDPOINT_URL"].removeprefix("http://")
    store = pyarrow.fs.S3FileSystem(endpoint_override=host, scheme="http")
    paths = [path.removeprefix("s3://") for path in table().file_uris()]
    connection = duckdb.connect()
    connection.register("data", pyarrow.dataset.dataset(paths, filesystem=store))
    print(connection.execute(text).fetchall())


def append(count):
    times = []
    for i in range(int(count)):
        row = pa.table({"id": pa.array([-1 - i], pa.int64()), "name": ["appended"], "value": pa.array([i], pa.int64())})
        started = time.perf_counter()
        write_deltalake(uri, row, mode="append", storage_options=options)
        times.append(time.perf_counter() - started)
    print(json.dumps(times))


def update(row):
    print(table().update(predicate=f"id = {row}", updates={"name": "'edited'"}))


operations = {"read": read, "head": head, "sql": sql, "duck": duck, "append": append, "update": update}
operations[operation](*arguments)
