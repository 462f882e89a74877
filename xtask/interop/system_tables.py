"""Runs the system tables statement with Spark, on tables with the documented columns.

usage: system_tables.py <file with the statement>
"""

from datetime import datetime, timedelta, timezone
from pathlib import Path

import checks
from pyspark.sql import SparkSession
from pyspark.sql.functions import expr

START = datetime(2026, 11, 23, 12, 0, tzinfo=timezone.utc)
MILLIS = int(START.timestamp() * 1000)
TIMELINE = (
    "cluster_id STRING, instance_id STRING, start_time TIMESTAMP, end_time TIMESTAMP, driver BOOLEAN, "
    "cpu_user_percent DOUBLE, cpu_system_percent DOUBLE, cpu_wait_percent DOUBLE, mem_used_percent DOUBLE, node_type STRING"
)
TYPES = "account_id STRING, node_type STRING, core_count DOUBLE, memory_mb BIGINT, gpu_count BIGINT"


def minute(cluster: str, instance: str, number: int, driver: bool, cpu: float, memory: float, kind: str) -> tuple:
    """Returns one row of the timeline."""
    at = START + timedelta(minutes=number)
    return (cluster, instance, at, at + timedelta(minutes=1), driver, cpu - 1.0, 1.0, 50.0, memory, kind)


def program(arguments: list[str]) -> None:
    text = Path(arguments[0]).read_text().replace("system.compute.", "")
    quiet = {"spark.ui.enabled": "false", "spark.ui.showConsoleProgress": "false"}
    spark = SparkSession.builder.master("local[1]").config(map=quiet).getOrCreate()
    spark.sparkContext.setLogLevel("ERROR")
    rows = [
        minute("c-1", "driver", 0, True, 10.0, 20.0, "small"),
        minute("c-1", "driver", 1, True, 20.0, 40.0, "small"),
        minute("c-1", "driver", 2, True, 40.0, 60.0, "small"),
        minute("c-1", "driver", 3, True, 30.0, 30.0, "small"),
        minute("c-1", "worker", 2, False, 80.0, 50.0, "novel"),
        # Before the window, after it, and of another cluster.
        minute("c-1", "driver", -1, True, 99.0, 99.0, "small"),
        minute("c-1", "driver", 5, True, 99.0, 99.0, "small"),
        minute("c-9", "other", 1, True, 99.0, 99.0, "small"),
    ]
    spark.createDataFrame(rows, TIMELINE).createOrReplaceTempView("node_timeline")
    # A node type that is listed twice must not duplicate rows.
    types = [("a", "small", 4.0, 16384, 0), ("b", "small", 4.0, 16384, 0)]
    spark.createDataFrame(types, TYPES).createOrReplaceTempView("node_types")
    bound = {"anchor": MILLIS, "step": 120_000, "from": MILLIS, "until": MILLIS + 240_000}
    # 64-bit literals, like the parameters of the API.
    bound = {name: expr(f"{value}L") for name, value in bound.items()}
    bound |= {f"cluster_{place}": "c-1" for place in range(16)}
    for ansi in ("true", "false"):
        with checks.section(f"the statement with spark.sql.ansi.enabled={ansi}"):
            spark.conf.set("spark.sql.ansi.enabled", ansi)
            table = spark.sql(text, bound)
            columns = "cluster_id instance_id driver node_type step cpu_percent memory_percent core_count memory_mb"
            checks.equal(f"columns (ansi {ansi})", table.columns, columns.split())
            found = [tuple(row) for row in table.collect()]
            wanted = [
                ("c-1", "driver", True, "small", 0, 10.0, 20.0, 4.0, 16384),
                ("c-1", "driver", True, "small", 1, 30.0, 50.0, 4.0, 16384),
                ("c-1", "driver", True, "small", 2, 30.0, 30.0, 4.0, 16384),
                ("c-1", "worker", False, "novel", 1, 80.0, 50.0, None, None),
            ]
            checks.equal(f"one row per machine and step (ansi {ansi})", found, wanted)
    spark.stop()


if __name__ == "__main__":
    checks.main(program)
