"""Runs tasks of Flyte's SDK through the server and the emulator, which executes the entrypoint.

usage: spark_task.py <server host:port> <emulator host:port> <file:///folder or s3://bucket> <folder of the platform's PySpark>

As in production, the SDK serializes, the server submits and reads error.pb, and a0 runs the function with Spark and
writes the outputs. No request carries a token.
"""

import importlib.metadata
import os
import sys
import time
from collections.abc import Callable

import checks
import flyte_task
from flyte._task import TaskTemplate
from flyte_task import PROJECT, Place, Tasks
from flyteidl2.connector import connector_pb2 as pb
from flyteidl2.core.execution_pb2 import TaskExecution

sys.path.insert(0, str(PROJECT))

import connector_token  # noqa: E402
import spark_jobs  # noqa: E402

# Maximum run time of a task, in seconds. Spark alone takes ten seconds to start, a new environment half a minute.
RUN_TIMEOUT = 300

# Variables with which a0 accesses the store. On a real cluster, its policy or profile has them.
STORE_SETTINGS = ("FLYTE_AWS_ENDPOINT", "FLYTE_AWS_ACCESS_KEY_ID", "FLYTE_AWS_SECRET_ACCESS_KEY")

Change = Callable[[pb.CreateTaskRequest], None]


class Driver:
    """A connection to the server; each task is a new run."""

    def __init__(self, server: str, workspace: str, base: str) -> None:
        self.tasks = Tasks(server)
        self.workspace = workspace
        self.base = f"{base.rstrip('/')}/{time.time_ns()}"
        self.count = 0

    def place(self) -> Place:
        """Returns new locations for one run."""
        self.count += 1
        place = Place(base=f"{self.base}/{self.count}", run=f"spark{self.count}")
        # On disk, the executor creates this directory; object stores need none.
        flyte_task.write(f"{place.outputs}/.keep", b"")
        return place

    def run(
        self, task: TaskTemplate, form: str = "tgz", change: Change | None = None, **values: object
    ) -> tuple[pb.Resource, Place]:
        """Runs the task to a terminal phase."""
        place = self.place()
        code = flyte_task.archive() if form == "tgz" else flyte_task.pickled(task, spark_jobs, connector_token)
        request = flyte_task.request(task, code.uploaded(place.base), place, **values)
        flyte_task.write(place.inputs, request.inputs.SerializeToString())
        request.template.custom["databricksInstance"] = self.workspace
        for name in STORE_SETTINGS:
            if value := os.environ.get(name):
                request.task_execution_metadata.environment_variables[name] = value
        if change:
            change(request)
        checks.holds(f"{task.name}: the SDK wrote no `secrets`", "secrets" not in request.template.custom.fields)
        return self.tasks.run(request, RUN_TIMEOUT), place


def on_existing_cluster(request: pb.CreateTaskRequest) -> None:
    """Moves the task to an existing cluster, where variables must be passed as arguments."""
    conf = request.template.custom["databricksConf"]
    del conf["new_cluster"]
    conf["existing_cluster_id"] = "0801-120000-abcdefgh"


def on_serverless(**conf: object) -> Change:
    """Moves the task to serverless compute."""

    def change(request: pb.CreateTaskRequest) -> None:
        conf_of_task = request.template.custom["databricksConf"]
        del conf_of_task["new_cluster"]
        conf_of_task.update({"serverless": True, **conf})

    return change


def check_serverless(driver: Driver, platform: str) -> None:
    """The emulator executes the task in a new environment that holds what the submission names, and the platform's PySpark."""
    response, place = driver.run(spark_jobs.sum_of_squares, change=on_serverless(), n=1000)
    checks.holds("serverless: a Spark job is SUCCEEDED", *is_phase(response, TaskExecution.SUCCEEDED))
    content = flyte_task.read(f"{place.outputs}/outputs.pb")
    value = None if content is None else flyte_task.output(content)
    checks.equal("serverless: outputs.pb has the sum", value, 3 * sum(n * n for n in range(1000)))

    response, place = driver.run(spark_jobs.packages, change=on_serverless())
    content = flyte_task.read(f"{place.outputs}/outputs.pb")
    pyspark, *own = str(None if content is None else flyte_task.output(content)).split("|")
    checks.holds("serverless: PySpark is the platform's", pyspark.startswith(platform), f"{pyspark}: {response.message}")
    checks.holds("serverless: the environment has Flyte", "flyte" in own, repr(own))
    checks.equal("serverless: the environment has no PySpark", [name for name in own if "spark" in name], [])

    environment = {"environment_key": "mine", "spec": {"environment_version": "2", "dependencies": []}}
    response, _ = driver.run(spark_jobs.packages, change=on_serverless(environments=[environment]))
    text = "flyte is not installed in the environment `mine`"
    checks.holds("serverless: an environment without Flyte is named", text in response.message, repr(response.message))


def check_success(driver: Driver) -> None:
    """The value is returned for each form of code and kind of cluster."""
    for claim, form, change in (
        ("new cluster, tgz", "tgz", None),
        ("existing cluster, tgz", "tgz", on_existing_cluster),
        ("new cluster, pkl", "pkl", None),
    ):
        started = time.monotonic()
        response, place = driver.run(spark_jobs.sum_of_squares, form, change, n=1000)
        seconds = time.monotonic() - started
        checks.holds(
            f"{claim}: a Spark job is SUCCEEDED ({seconds:.0f} s)", *is_phase(response, TaskExecution.SUCCEEDED)
        )
        content = flyte_task.read(f"{place.outputs}/outputs.pb")
        value = None if content is None else flyte_task.output(content)
        checks.equal(f"{claim}: outputs.pb has the sum", value, 3 * sum(n * n for n in range(1000)))
        checks.equal(f"{claim}: there is no error.pb", flyte_task.read(f"{place.outputs}/error.pb"), None)


def check_failure(driver: Driver) -> None:
    """A task that raises fails with the text of the exception."""
    for task, phase, texts in (
        (spark_jobs.boom, TaskExecution.RETRYABLE_FAILED, ("ValueError", "boom")),
        (spark_jobs.boom_for_good, TaskExecution.FAILED, ("NonRecoverableError", "bad input")),
        (spark_jobs.missing_table, TaskExecution.RETRYABLE_FAILED, ("AnalysisException", "no_such_table")),
    ):
        response, place = driver.run(task)
        checks.holds(f"{task.name}: {TaskExecution.Phase.Name(phase)}", *is_phase(response, phase))
        for text in texts:
            checks.holds(f"{task.name}: the message contains `{text}`", text in response.message, repr(response.message))
        content = flyte_task.read(f"{place.outputs}/error.pb")
        checks.holds(f"{task.name}: a0 wrote error.pb", content is not None)


def is_phase(response: pb.Resource, wanted: int) -> tuple[bool, str]:
    """Returns whether the phase is `wanted`, and a failure message."""
    return response.phase == wanted, f"{TaskExecution.Phase.Name(response.phase)}: {response.message}"


def program(arguments: list[str]) -> None:
    server, workspace, base, platform = arguments
    names = ("flyte", "flyteplugins-databricks", "pyspark")
    checks.note(", ".join(f"{name} {importlib.metadata.version(name)}" for name in names))
    driver = Driver(server, workspace, base)
    for check in (check_success, check_failure):
        with checks.section(check.__name__):
            check(driver)
    # The environment does not depend on the store of the files.
    if base.startswith("file:"):
        with checks.section(check_serverless.__name__):
            check_serverless(driver, platform)


if __name__ == "__main__":
    checks.main(program)
