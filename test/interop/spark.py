"""A Spark session with Delta Lake that answers requests until its input ends: one JSON object a line each way.

Usage: spark.py CACHE. A request is {"op": NAME, "args": [...]}, the answer {"ok": RESULT} or {"error": SENTENCE}. Spark's
jars of Delta are kept in the folder CACHE.
"""
import glob
import json
import logging
import os
import sys

os.environ["TZ"] = "UTC"
os.environ["PYSPARK_PYTHON"] = sys.executable

import pyspark
from pyspark.sql import SparkSession
from pyspark.sql.types import IntegerType, LongType, StringType
from delta.tables import DeltaTable, IdentityGenerator

JARS = 3  # delta-spark, delta-storage, antlr4-runtime


def session(cache: str) -> SparkSession:
    """One local session in UTC, sized for tables of a few rows."""
    log = f"{cache}/log4j2.properties"
    with open(log, "w") as file:
        file.write("rootLogger.level = off\n")
    jars = sorted(glob.glob(f"{cache}/ivy/jars/*.jar"))
    builder = SparkSession.builder.master("local[2]")
    if len(jars) >= JARS:
        builder = builder.config("spark.jars", ",".join(jars))
    else:
        builder = builder.config("spark.jars.packages", f"io.delta:delta-spark_2.13:{pyspark.__version__}")
    settings = {
        "spark.jars.ivy": f"{cache}/ivy",
        "spark.sql.extensions": "io.delta.sql.DeltaSparkSessionExtension",
        "spark.sql.catalog.spark_catalog": "org.apache.spark.sql.delta.catalog.DeltaCatalog",
        "spark.sql.session.timeZone": "UTC",
        "spark.sql.jsonGenerator.ignoreNullFields": "false",
        "spark.sql.shuffle.partitions": "1",
        # Compiling a plan takes longer than running it on a few rows.
        "spark.sql.codegen.wholeStage": "false",
        "spark.sql.codegen.factoryMode": "NO_CODEGEN",
        "spark.sql.adaptive.enabled": "false",
        "spark.databricks.delta.snapshotPartitions": "1",
        "spark.databricks.delta.retentionDurationCheck.enabled": "false",
        # VACUUM would start 200 tasks.
        "spark.sql.sources.parallelPartitionDiscovery.parallelism": "2",
        "spark.sql.warehouse.dir": f"{cache}/warehouse",
        "spark.ui.enabled": "false",
        "spark.ui.showConsoleProgress": "false",
        "spark.driver.memory": "1g",
        "spark.driver.host": "127.0.0.1",
        "spark.driver.bindAddress": "127.0.0.1",
        "spark.driver.extraJavaOptions": f"-Duser.timezone=UTC -Dlog4j2.configurationFile={log}"
        " -XX:TieredStopAtLevel=1 -XX:+UseSerialGC",
    }
    for key, value in settings.items():
        builder = builder.config(key, value)
    return builder.getOrCreate()


def sql(*statements: str) -> list:
    """Runs statements; the rows of the last one, each value as Spark spells it in JSON."""
    rows = []
    for statement in statements:
        frame = spark.sql(statement)
        rows = [list(json.loads(row).values()) for row in frame.toJSON().collect()] if frame.columns else []
    return rows


def conf(key: str, value: str) -> None:
    """Sets a property of the session."""
    spark.conf.set(key, value)


def identity_table(path: str) -> None:
    """A table with an identity column, which SQL on a path cannot make."""
    (
        DeltaTable.create(spark)
        .location(path)
        .addColumn("id", LongType(), generatedAlwaysAs=IdentityGenerator())
        .addColumn("text", StringType())
        .execute()
    )


def generated_table(path: str) -> None:
    """A table with a generated column."""
    (
        DeltaTable.create(spark)
        .location(path)
        .addColumn("id", IntegerType())
        .addColumn("twice", IntegerType(), generatedAlwaysAs="id * 2")
        .execute()
    )


# Whatever the JVM or a library prints must not stand among the answers.
answers = os.fdopen(os.dup(1), "w", buffering=1)
os.dup2(2, 1)
spark = session(sys.argv[1])
logging.getLogger("SQLQueryContextLogger").setLevel(100)  # it prints the Java trace of every statement that fails
operations = {function.__name__: function for function in (sql, conf, identity_table, generated_table)}
for line in sys.stdin:
    request = json.loads(line)
    try:
        answer = {"ok": operations[request["op"]](*request["args"])}
    except Exception as error:  # noqa: BLE001: whatever it is, the test hears of it
        answer = {"error": str(error).strip()[:2000]}
    answers.write(json.dumps(answer) + "\n")
spark.stop()
