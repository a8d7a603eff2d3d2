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


def dataset():
    return table().to_pyarrow_dataset()


def read(path):
    found = dataset()
    with pacsv.CSVWriter(path, found.schema, write_options=pacsv.WriteOptions(quoting_style="needed")) as writer:
        for batch in found.to_batches():
            writer.write_batch(batch)


def head():
    print(dataset().head(1).to_pylist())


def sql(query):
    print(QueryBuilder().register("data", table()).execute(query).read_all())


def duck(query):
    import duckdb

    connection = duckdb.connect()
    connection.register("data", dataset())
    print(connection.execute(query).fetchall())


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
