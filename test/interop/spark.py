"""A Spark session with Delta Lake that answers requests until its input ends: one JSON object a line each way.

Usage: spark.py CACHE. A request is {"op": NAME, "args": [...]}, the answer {"ok": RESULT} or {"error": SENTENCE}. Spark's
jars of Delta and of S3 are kept in the folder CACHE. Where AWS_ENDPOINT_URL is set, s3a:// is the store there.
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
from pyspark.sql.types import DateType, DecimalType, LongType, StringType, TimestampType
from delta.tables import DeltaTable, IdentityGenerator

# What S3A needs of the SDK, in place of its bundle of all services, which has 560 MB.
SDK = "2.57.8"
PACKAGES = [
    f"io.delta:delta-spark_2.13:{pyspark.__version__}",
    "org.apache.hadoop:hadoop-aws:3.4.1",  # the version of Spark's own Hadoop
    f"software.amazon.awssdk:s3-transfer-manager:{SDK}",
    f"software.amazon.awssdk:apache-client:{SDK}",
]
# Spark has these itself.
LEFT_OUT = ["software.amazon.awssdk:bundle", "org.slf4j:*", "io.netty:*"]


def jars_in(cache: str) -> dict:
    """The settings that give a session its jars: those of an earlier one, unless other packages are wanted by now."""
    wanted = "\n".join([*PACKAGES, *LEFT_OUT])
    stamp = f"{cache}/ivy/packages"
    jars = sorted(glob.glob(f"{cache}/ivy/jars/*.jar"))
    if jars and os.path.exists(stamp) and open(stamp).read() == wanted:
        return {"spark.jars": ",".join(jars)}
    for jar in jars:
        os.remove(jar)
    return {"spark.jars.packages": ",".join(PACKAGES), "spark.jars.excludes": ",".join(LEFT_OUT)}


def store() -> dict:
    """The settings for s3a:// by the environment, as the AWS tools read it; the keys are found there by S3A itself."""
    endpoint = os.environ.get("AWS_ENDPOINT_URL")
    if endpoint is None:
        return {}
    return {
        "spark.hadoop.fs.s3a.endpoint": endpoint,
        "spark.hadoop.fs.s3a.endpoint.region": os.environ["AWS_REGION"],
        "spark.hadoop.fs.s3a.path.style.access": "true",
    }


def session(cache: str) -> SparkSession:
    """One local session in UTC, sized for tables of a few rows."""
    log = f"{cache}/log4j2.properties"
    with open(log, "w") as file:
        file.write("rootLogger.level = off\n")
    builder = SparkSession.builder.master("local[2]")
    settings = {
        **jars_in(cache),
        **store(),
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
    session = builder.getOrCreate()
    with open(f"{cache}/ivy/packages", "w") as file:
        file.write("\n".join([*PACKAGES, *LEFT_OUT]))
    return session


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


def ruled_table(path: str) -> None:
    """A table with identity and generated columns, which SQL on a path cannot make."""
    (
        DeltaTable.create(spark)
        .location(path)
        .addColumn("id", LongType(), generatedAlwaysAs=IdentityGenerator())
        .addColumn("text", StringType())
        .addColumn("price", DecimalType(10, 2))
        .addColumn("gross", DecimalType(13, 3), generatedAlwaysAs="price * 1.2")
        .addColumn("seen", TimestampType())
        .addColumn("day", DateType(), generatedAlwaysAs="CAST(seen AS DATE)")
        .addColumn(
            "label",
            StringType(),
            generatedAlwaysAs="concat(upper(substring(text, 1, 4)), ' ', date_format(seen, 'yyyy-MM'))",
        )
        .partitionedBy("day")
        .execute()
    )


# Whatever the JVM or a library prints must not stand among the answers.
answers = os.fdopen(os.dup(1), "w", buffering=1)
os.dup2(2, 1)
spark = session(sys.argv[1])
logging.getLogger("SQLQueryContextLogger").setLevel(100)  # it prints the Java trace of every statement that fails
operations = {function.__name__: function for function in (sql, conf, ruled_table)}
for line in sys.stdin:
    request = json.loads(line)
    try:
        answer = {"ok": operations[request["op"]](*request["args"])}
    except Exception as error:  # noqa: BLE001: whatever it is, the test hears of it
        answer = {"error": str(error).strip()[:2000]}
    answers.write(json.dumps(answer) + "\n")
spark.stop()
