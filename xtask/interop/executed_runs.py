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
from flyte_task import PROJECT, Place, Tasks
from flyteidl2.core.execution_pb2 import TaskExecution

sys.path.insert(0, str(PROJECT))

import plain_tasks  # noqa: E402

# Tasks that run at the same time.
AT_ONCE = 2
# Maximum run time of a task, in seconds.
RUN_TIMEOUT = 120
CLUSTER = {"spark_version": "15.4.x-scala2.12", "node_type_id": "m5.large", "num_workers": 1}


class Runner:
    """Runs tasks and records how each ended."""

    def __init__(self, server: str, workspace: str, base: str) -> None:
        self.tasks = Tasks(server)
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
        resource = self.tasks.run(request, RUN_TIMEOUT)
        content = flyte_task.read(f"{place.outputs}/outputs.pb")
        value = None if content is None else flyte_task.output(content)
        if resource.phase == TaskExecution.SUCCEEDED and value == number + 1:
            return "ok"
        phase = TaskExecution.Phase.Name(resource.phase)
        return f"{phase} with {'outputs' if content else 'no outputs'}: {resource.message[-2000:]}"


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
