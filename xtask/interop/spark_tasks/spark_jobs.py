"""Databricks tasks, as a user of the connector writes them."""

import os
import sysconfig
from importlib import metadata

import flyte
import flyte.errors
from connector_token import DatabricksByConnector

env = flyte.TaskEnvironment(
    name="spark_jobs",
    image=flyte.Image.from_base("example.test/spark:1"),
    env_vars={
        # Only for the emulator: on a real cluster, the cluster sets the Spark master.
        "PYSPARK_SUBMIT_ARGS": "--master local[1] --conf spark.ui.enabled=false pyspark-shell",
        "FACTOR": "3",
    },
    plugin_config=DatabricksByConnector(
        databricks_conf={
            "run_name": "interop spark",
            "new_cluster": {"spark_version": "16.4.x-scala2.12", "node_type_id": "m6i.large", "num_workers": 1},
        },
    ),
)


@env.task
def sum_of_squares(n: int) -> int:
    """Adds up 0², 1², … (n - 1)² with Spark, and multiplies by a variable of the task."""
    spark = flyte.ctx().data["spark_session"]
    return spark.range(n).selectExpr("sum(id * id) AS total").first()["total"] * int(os.environ["FACTOR"])


@env.task
def packages() -> str:
    """Returns the file of PySpark, and the packages in the environment itself."""
    import pyspark

    own = metadata.distributions(path=[sysconfig.get_path("purelib")])
    return "|".join([pyspark.__file__, *sorted(package.metadata["Name"].lower() for package in own)])


@env.task
def missing_table() -> int:
    """Fails in Spark."""
    spark = flyte.ctx().data["spark_session"]
    return spark.table("no_such_table").count()


@env.task
def boom() -> int:
    """Raises an exception."""
    raise ValueError("boom")


@env.task
def boom_for_good() -> int:
    """Raises an exception that must not be retried."""
    raise flyte.errors.NonRecoverableError("bad input")
