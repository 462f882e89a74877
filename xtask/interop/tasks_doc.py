"""Extracts every example of docs/tasks.md, serializes its task with Flyte's SDK, and sends it to the server.

usage: tasks_doc.py <server host:port> <emulator host:port> <docs/tasks.md>
"""

import importlib.util
import re
import sys
import tempfile
from pathlib import Path

import checks
import grpc
from flyte._task import TaskTemplate
from flyte.models import CodeBundle
from flyte_task import Place, request
from flyteidl2.connector import connector_pb2 as pb
from flyteidl2.connector import service_pb2_grpc

RPC_TIMEOUT = 10

# Name of the run with a script in scripts.json.
SCRIPTED = "orders of the day"


def examples(page: Path) -> list[tuple[str, str]]:
    """Returns title and code of each Python example."""
    found, title = [], "?"
    for part in re.split(r"(^## [^\n]*$|^```python\n.*?^```$)", page.read_text(), flags=re.MULTILINE | re.DOTALL):
        if part.startswith("## "):
            title = part[3:]
        elif part.startswith("```python"):
            found.append((title, part.removeprefix("```python\n").removesuffix("```")))
    return found


def task_of(code: str, name: str, folder: Path) -> TaskTemplate:
    """Imports the code as a module and returns its only task."""
    # The SDK reads the source of a task, so it must be in a file.
    file = folder / f"{name}.py"
    file.write_text(code)
    spec = importlib.util.spec_from_file_location(name, file)
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    spec.loader.exec_module(module)
    tasks = [value for value in vars(module).values() if isinstance(value, TaskTemplate)]
    assert len(tasks) == 1, f"{len(tasks)} tasks"
    return tasks[0]


def create_request(task: TaskTemplate, workspace: str, number: int, folder: Path) -> pb.CreateTaskRequest:
    """Returns the CreateTask request of the task."""
    bundle = CodeBundle(tgz="s3://bucket/code.tar.gz", destination=".", computed_version="docs")
    place = Place(base="s3://bucket/docs", run=f"docs{number}")
    message = request(task, bundle, place, folder, **{name: 3 for name in task.native_interface.inputs})
    message.template.custom["databricksInstance"] = workspace
    return message


def program(arguments: list[str]) -> None:
    server, workspace, page = arguments
    channel = grpc.insecure_channel(server)
    stub = service_pb2_grpc.AsyncConnectorServiceStub(channel)
    pages = examples(Path(page))
    checks.holds("there are examples", len(pages) > 6, f"found {len(pages)}")
    folder = Path(tempfile.mkdtemp())
    for number, (title, code) in enumerate(pages):
        with checks.section(title):
            message = create_request(task_of(code, f"example_{number}", folder), workspace, number, folder)
            if number == 0:
                checks.holds("the first example has no `secrets`", "secrets" not in message.template.custom.fields)
            message.ClearField("connection")
            if '"job_id"' in code:
                # The emulator has no such job; the request is valid otherwise.
                checks.holds(f"{title}: only the job of the example is missing", *is_job_missing(stub, message))
                continue
            meta = stub.CreateTask(message, timeout=RPC_TIMEOUT).resource_meta
            checks.holds(f"{title}: the example starts a run", b"run_id" in meta, repr(meta))
            if SCRIPTED in code:
                checks.equal(f"{title}: the task returns the result of the SQL", returned(stub, message, meta), 385)


def returned(stub: service_pb2_grpc.AsyncConnectorServiceStub, message: pb.CreateTaskRequest, meta: bytes) -> int | str:
    """Returns the only output of the run, or the reason that there is none. The run has already ended."""
    category = pb.TaskCategory(name=message.template.type, version=message.template.task_type_version)
    poll = pb.GetTaskRequest(resource_meta=meta, task_category=category, output_prefix=message.output_prefix)
    resource = stub.GetTask(poll, timeout=RPC_TIMEOUT).resource
    if len(resource.outputs.literals) != 1:
        return f"phase {resource.phase}: {resource.message}"
    return resource.outputs.literals[0].value.scalar.primitive.integer


def is_job_missing(stub: service_pb2_grpc.AsyncConnectorServiceStub, message: pb.CreateTaskRequest) -> tuple[bool, str]:
    """Returns whether CreateTask fails only because the job does not exist, and the error details."""
    try:
        meta = stub.CreateTask(message, timeout=RPC_TIMEOUT).resource_meta
    except grpc.RpcError as error:
        details = error.details()
        return "/jobs/run-now" in details and details.endswith(" does not exist."), details
    return False, repr(meta)


if __name__ == "__main__":
    checks.main(program)
