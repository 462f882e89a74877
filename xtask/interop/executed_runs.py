"""Runs many small tasks through the server and the emulator, which executes the entrypoint, and counts how they end.

usage: executed_runs.py <server host:port> <emulator host:port> <file:///folder> <tasks> <seconds>

Each task is one process that writes outputs.pb. A process that ends abnormally after its outputs were written is a
failure here, because Databricks reports its run as failed. Starts no further task after the time limit.
"""

import sys
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from itertools import count

import checks
import flyte_task
import grpc
from flyte_task import PROJECT, Place
from flyteidl2.connector import connector_pb2 as pb
from flyteidl2.connector import service_pb2_grpc
from flyteidl2.core.execution_pb2 import TaskExecution

sys.path.insert(0, str(PROJECT))

import plain_tasks  # noqa: E402

TERMINAL = {TaskExecution.SUCCEEDED, TaskExecution.FAILED, TaskExecution.RETRYABLE_FAILED, TaskExecution.ABORTED}
# Tasks that run at the same time.
AT_ONCE = 2
# Maximum run time of a task, in seconds.
RUN_TIMEOUT = 120
RPC_TIMEOUT = 10
POLL_EVERY = 0.2
CLUSTER = {"spark_version": "15.4.x-scala2.12", "node_type_id": "m5.large", "num_workers": 1}


class Runner:
    """Runs tasks and records how each ended."""

    def __init__(self, server: str, workspace: str, base: str) -> None:
        channel = grpc.insecure_channel(server)
        grpc.channel_ready_future(channel).result(timeout=30)
        self.tasks = service_pb2_grpc.AsyncConnectorServiceStub(channel)
        self.workspace = workspace
        self.base = f"{base.rstrip('/')}/{time.time_ns()}"
        self.code = flyte_task.archive()

    def run(self, number: int) -> str:
        """Runs one task and returns how it ended: `ok`, or what is wrong."""
        place = Place(base=f"{self.base}/{number}", run=f"executed{number}")
        flyte_task.write(f"{place.outputs}/.keep", b"")
        request = flyte_task.request(
            plain_tasks.add, self.code.uploaded(place.base), place, left=number, right=1
        )
        flyte_task.write(place.inputs, request.inputs.SerializeToString())
        request.template.type = "databricks"
        request.template.custom.update(
            {"databricksInstance": self.workspace, "databricksConf": {"new_cluster": CLUSTER}}
        )
        meta = self.tasks.CreateTask(request, timeout=RPC_TIMEOUT).resource_meta
        resource = self.last_response(meta, request)
        content = flyte_task.read(f"{place.outputs}/outputs.pb")
        value = None if content is None else flyte_task.output(content)
        if resource.phase == TaskExecution.SUCCEEDED and value == number + 1:
            return "ok"
        phase = TaskExecution.Phase.Name(resource.phase)
        return f"{phase} with {'outputs' if content else 'no outputs'}: {resource.message[-2000:]}"

    def last_response(self, meta: bytes, request: pb.CreateTaskRequest) -> pb.Resource:
        """Polls until the phase is terminal or the timeout expires."""
        message = pb.GetTaskRequest(
            resource_meta=meta,
            task_category=pb.TaskCategory(name="databricks", version=0),
            output_prefix=request.output_prefix,
        )
        deadline = time.monotonic() + RUN_TIMEOUT
        while True:
            resource = self.tasks.GetTask(message, timeout=RPC_TIMEOUT).resource
            if resource.phase in TERMINAL or time.monotonic() > deadline:
                return resource
            time.sleep(POLL_EVERY)


def program(arguments: list[str]) -> None:
    server, workspace, base, tasks, seconds = arguments
    runner = Runner(server, workspace, base)
    wanted, until = int(tasks), time.monotonic() + float(seconds)
    numbers = count(1)
    ends: Counter[str] = Counter()

    def work(_: int) -> list[str]:
        found = []
        while time.monotonic() < until and (number := next(numbers)) <= wanted:
            found.append(runner.run(number))
        return found

    started = time.monotonic()
    with ThreadPoolExecutor(AT_ONCE) as pool:
        for found in pool.map(work, range(AT_ONCE)):
            ends.update(found)
    checks.note(f"{ends.total()} of {wanted} tasks in {time.monotonic() - started:.0f} s: {ends['ok']} ok")
    wrong = {end: number for end, number in ends.items() if end != "ok"}
    checks.holds("every executed task succeeded with its outputs", not wrong, repr(wrong))
    checks.holds("at least one task was executed", ends.total() > 0, "")


if __name__ == "__main__":
    checks.main(program)
