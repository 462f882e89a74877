"""Builds requests as Flyte's SDK and executor do: bundled code, serialized task, rendered arguments, inputs."""

import asyncio
import gzip
import io
import tarfile
import time
from dataclasses import dataclass, field
from pathlib import Path
from types import ModuleType
from typing import Any

import cloudpickle
import grpc
from flyte import storage
from flyte._internal.runtime.convert import convert_from_native_to_inputs
from flyte._internal.runtime.task_serde import translate_task_to_wire
from flyte._task import TaskTemplate
from flyte.models import CodeBundle, SerializationContext
from flyteidl2.connector import connector_pb2, service_pb2_grpc
from flyteidl2.core import execution_pb2, identifier_pb2, tasks_pb2
from flyteidl2.task import common_pb2

# The user's project, which is bundled and imported.
PROJECT = Path(__file__).parent / "spark_tasks"

VERSION = "interop"

TERMINAL = {
    execution_pb2.TaskExecution.SUCCEEDED,
    execution_pb2.TaskExecution.FAILED,
    execution_pb2.TaskExecution.RETRYABLE_FAILED,
    execution_pb2.TaskExecution.ABORTED,
}
RPC_TIMEOUT = 10
POLL_EVERY = 0.2


class Tasks:
    """A connection to the server."""

    def __init__(self, server: str) -> None:
        channel = grpc.insecure_channel(server)
        grpc.channel_ready_future(channel).result(timeout=30)
        self.stub = service_pb2_grpc.AsyncConnectorServiceStub(channel)

    def run(self, request: connector_pb2.CreateTaskRequest, timeout: float) -> connector_pb2.Resource:
        """Creates the task and polls it until its phase is terminal or the timeout, in seconds, expires."""
        meta = self.stub.CreateTask(request, timeout=RPC_TIMEOUT).resource_meta
        message = connector_pb2.GetTaskRequest(
            resource_meta=meta,
            task_category=connector_pb2.TaskCategory(name="databricks", version=0),
            output_prefix=request.output_prefix,
            connection=request.connection,
        )
        deadline = time.monotonic() + timeout
        while True:
            resource = self.stub.GetTask(message, timeout=RPC_TIMEOUT).resource
            if resource.phase in TERMINAL or time.monotonic() > deadline:
                return resource
            time.sleep(POLL_EVERY)


@dataclass
class Code:
    """A code bundle in one of the two forms that a0 unpacks."""

    form: str
    content: bytes

    def uploaded(self, folder: str) -> CodeBundle:
        """Writes the bundle into a folder of any store."""
        path = f"{folder}/code.{'tar.gz' if self.form == 'tgz' else 'pkl.gz'}"
        write(path, self.content)
        return CodeBundle(**{self.form: path}, destination=".", computed_version=VERSION)


def archive() -> Code:
    """Returns the project as an archive."""
    content = io.BytesIO()
    with tarfile.open(fileobj=content, mode="w:gz") as tar:
        for source in sorted(PROJECT.glob("*.py")):
            tar.add(source, arcname=source.name)
    return Code("tgz", content.getvalue())


def pickled(task: TaskTemplate, *modules: ModuleType) -> Code:
    """Returns the task pickled with `modules`, as the SDK does in a notebook."""
    for module in modules:
        cloudpickle.register_pickle_by_value(module)
    return Code("pkl", gzip.compress(cloudpickle.dumps(task)))


@dataclass
class Place:
    """The storage locations and identity of an attempt."""

    # Folder of the run, without a trailing slash.
    base: str
    run: str
    action: str = "a0"
    attempt: int = 1
    # Values of `--org`, `--project`, `--domain`, which the connector adds.
    identity: dict[str, str] = field(default_factory=lambda: {"org": "local", "project": "p", "domain": "d"})

    @property
    def inputs(self) -> str:
        return f"{self.base}/inputs.pb"

    @property
    def outputs(self) -> str:
        return f"{self.base}/{self.run}/{self.action}/{self.attempt}"


def template(
    task: TaskTemplate, bundle: CodeBundle | None, place: Place, project: Path = PROJECT
) -> tasks_pb2.TaskTemplate:
    """Returns the task as the SDK serializes it, with arguments rendered like the executor.

    `{{.runName}}` and `{{.actionName}}` stay unrendered, like in the executor.
    """
    context = SerializationContext(
        version=VERSION,
        code_bundle=bundle,
        root_dir=project,
        **place.identity,
    )
    serialized = translate_task_to_wire(task, context).task_template
    values = {
        "{{.input}}": place.inputs,
        "{{.outputPrefix}}": place.outputs,
        "{{.rawOutputDataPrefix}}": place.outputs,
        "{{.checkpointOutputPrefix}}": f"{place.outputs}/_flytecheckpoints",
        "{{.prevCheckpointPrefix}}": '""',
        "{{.runStartTime}}": "2026-11-23T03:19:56Z",
    }
    rendered = [values.get(argument, argument) for argument in serialized.container.args]
    serialized.container.args[:] = rendered
    return serialized


def inputs(task: TaskTemplate, **values: Any) -> common_pb2.Inputs:
    """Returns the values as Flyte's Inputs message."""
    return asyncio.run(convert_from_native_to_inputs(task.native_interface, **values)).proto_inputs


def request(
    task: TaskTemplate, bundle: CodeBundle | None, place: Place, project: Path = PROJECT, **values: Any
) -> connector_pb2.CreateTaskRequest:
    """Returns the CreateTask request that the executor sends for this attempt."""
    serialized = template(task, bundle, place, project)
    execution = identifier_pb2.WorkflowExecutionIdentifier(
        project=place.identity["project"], domain=place.identity["domain"], name=place.run
    )
    metadata = connector_pb2.TaskExecutionMetadata(
        task_execution_id=identifier_pb2.TaskExecutionIdentifier(
            task_id=serialized.id,
            node_execution_id=identifier_pb2.NodeExecutionIdentifier(node_id=place.action, execution_id=execution),
            retry_attempt=place.attempt - 1,
        ),
        namespace="flyte",
        environment_variables={
            "_U_ORG_NAME": place.identity["org"],
            "_U_RUN_BASE": f"{place.base}/{place.run}",
            "RUN_NAME": place.run,
            "ACTION_NAME": place.action,
            "LOG_LEVEL": "30",
            "_F_SYS_PATH": "./.:./.",
        },
    )
    return connector_pb2.CreateTaskRequest(
        inputs=inputs(task, **values),
        template=serialized,
        output_prefix=place.outputs,
        task_execution_metadata=metadata,
        connection={},
    )


def completed(arguments: list[str], place: Place) -> list[str]:
    """Returns the arguments as the connector completes them, for checks without a connector."""
    names = {"{{.runName}}": place.run, "{{.actionName}}": place.action}
    rendered = [names.get(argument, argument) for argument in arguments]
    missing = ["--run-base-dir", f"{place.base}/{place.run}"]
    for flag in ("org", "project", "domain"):
        missing += [f"--{flag}", place.identity[flag]]
    return [rendered[0], *missing, *rendered[1:]]


def output(content: bytes) -> object:
    """Returns the value of the only output in `outputs.pb`."""
    (literal,) = common_pb2.Outputs.FromString(content).literals
    primitive = literal.value.scalar.primitive
    return getattr(primitive, primitive.WhichOneof("value"))


def error(content: bytes) -> execution_pb2.ContainerError:
    """Returns the error in `error.pb`."""
    return execution_pb2.ErrorDocument.FromString(content).error


def write(path: str, content: bytes) -> None:
    """Writes a file to the store of the path, with the settings of Flyte's runtime."""
    store = storage.get_underlying_filesystem(path=path)
    if path.startswith("file://"):
        store.makedirs(path.rpartition("/")[0], exist_ok=True)
    store.pipe_file(path, content)


def read(path: str) -> bytes | None:
    """Returns the content of a file, or None if it does not exist."""
    try:
        return storage.get_underlying_filesystem(path=path).cat_file(path)
    except FileNotFoundError:
        return None
