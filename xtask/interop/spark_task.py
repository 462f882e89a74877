"""Sends tasks of the real SDK through the running server to the fake workspace, which executes our entrypoint.

usage: spark_task.py <server host:port> <workspace host:port> <where the files are: file:///folder or s3://bucket>

All the way as in production: the SDK serialises, the server submits and reads the error file, a0 runs the function
with Spark and writes the outputs. No request carries a token.
"""

import importlib.metadata
import os
import sys
import time
from collections.abc import Callable

import checks
import flyte_task
import grpc
from flyte._task import TaskTemplate
from flyte_task import PROJECT, Place
from flyteidl2.connector import connector_pb2 as pb
from flyteidl2.connector import service_pb2_grpc
from flyteidl2.core.execution_pb2 import TaskExecution

sys.path.insert(0, str(PROJECT))

import connector_token  # noqa: E402
import spark_jobs  # noqa: E402

TERMINAL = {TaskExecution.SUCCEEDED, TaskExecution.FAILED, TaskExecution.RETRYABLE_FAILED, TaskExecution.ABORTED}
# Spark starts in ten seconds, a loaded machine given.
PATIENCE = 120
RPC_TIMEOUT = 10

# What a0 needs to reach the store. On a real cluster it is in the cluster's policy or profile.
STORE_SETTINGS = ("FLYTE_AWS_ENDPOINT", "FLYTE_AWS_ACCESS_KEY_ID", "FLYTE_AWS_SECRET_ACCESS_KEY")

Change = Callable[[pb.CreateTaskRequest], None]


class Driver:
    """One connection to the server, and one more run for each task."""

    def __init__(self, server: str, workspace: str, base: str) -> None:
        channel = grpc.insecure_channel(server)
        grpc.channel_ready_future(channel).result(timeout=30)
        self.tasks = service_pb2_grpc.AsyncConnectorServiceStub(channel)
        self.workspace = workspace
        self.base = f"{base.rstrip('/')}/{time.time_ns()}"
        self.count = 0

    def place(self) -> Place:
        """An empty place for one more run."""
        self.count += 1
        place = Place(base=f"{self.base}/{self.count}", run=f"spark{self.count}")
        # An object store needs no folders. In files, the executor's own writer has made this one.
        flyte_task.write(f"{place.outputs}/.keep", b"")
        return place

    def ended(
        self, task: TaskTemplate, form: str = "tgz", change: Change | None = None, **values: object
    ) -> tuple[pb.Resource, Place]:
        """Runs the task to its end."""
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
        meta = self.tasks.CreateTask(request, timeout=RPC_TIMEOUT).resource_meta
        return self.last_answer(meta, request), place

    def last_answer(self, meta: bytes, request: pb.CreateTaskRequest) -> pb.Resource:
        """Polls until the phase is a terminal one, or patience ends."""
        message = pb.GetTaskRequest(
            resource_meta=meta,
            task_category=pb.TaskCategory(name="databricks", version=0),
            output_prefix=request.output_prefix,
            connection=request.connection,
        )
        deadline = time.monotonic() + PATIENCE
        while True:
            answer = self.tasks.GetTask(message, timeout=RPC_TIMEOUT).resource
            if answer.phase in TERMINAL or time.monotonic() > deadline:
                return answer
            time.sleep(0.2)


def on_existing_cluster(request: pb.CreateTaskRequest) -> None:
    """The same task on a cluster that is there, where no variables can be set: they have to come another way."""
    conf = request.template.custom["databricksConf"]
    del conf["new_cluster"]
    conf["existing_cluster_id"] = "0801-120000-abcdefgh"


def check_success(driver: Driver) -> None:
    """The value comes back, whatever the form of the code and the kind of cluster."""
    for claim, form, change in (
        ("new cluster, tgz", "tgz", None),
        ("existing cluster, tgz", "tgz", on_existing_cluster),
        ("new cluster, pkl", "pkl", None),
    ):
        started = time.monotonic()
        answer, place = driver.ended(spark_jobs.sum_of_squares, form, change, n=1000)
        seconds = time.monotonic() - started
        checks.holds(
            f"{claim}: a real Spark job ends as SUCCEEDED ({seconds:.0f} s)", *is_phase(answer, TaskExecution.SUCCEEDED)
        )
        content = flyte_task.read(f"{place.outputs}/outputs.pb")
        value = None if content is None else flyte_task.output(content)
        checks.equal(f"{claim}: outputs.pb has the sum", value, 3 * sum(n * n for n in range(1000)))
        checks.equal(f"{claim}: there is no error.pb", flyte_task.read(f"{place.outputs}/error.pb"), None)


def check_failure(driver: Driver) -> None:
    """A task that raises comes back as failed, with the text of the exception."""
    for task, phase, texts in (
        (spark_jobs.boom, TaskExecution.RETRYABLE_FAILED, ("ValueError", "boom")),
        (spark_jobs.boom_for_good, TaskExecution.FAILED, ("NonRecoverableError", "bad input")),
        (spark_jobs.missing_table, TaskExecution.RETRYABLE_FAILED, ("AnalysisException", "no_such_table")),
    ):
        answer, place = driver.ended(task)
        checks.holds(f"{task.name}: {TaskExecution.Phase.Name(phase)}", *is_phase(answer, phase))
        for text in texts:
            checks.holds(f"{task.name}: the message tells `{text}`", text in answer.message, repr(answer.message))
        content = flyte_task.read(f"{place.outputs}/error.pb")
        checks.holds(f"{task.name}: a0 wrote error.pb", content is not None)


def is_phase(answer: pb.Resource, wanted: int) -> tuple[bool, str]:
    """Whether the phase is the wanted one, and what to say when not."""
    return answer.phase == wanted, f"{TaskExecution.Phase.Name(answer.phase)}: {answer.message}"


def program(arguments: list[str]) -> None:
    server, workspace, base = arguments
    names = ("flyte", "flyteplugins-databricks", "pyspark")
    checks.note(", ".join(f"{name} {importlib.metadata.version(name)}" for name in names))
    driver = Driver(server, workspace, base)
    for check in (check_success, check_failure):
        with checks.section(check.__name__):
            check(driver)


if __name__ == "__main__":
    checks.main(program)
