"""Calls the server with Flyte's Python stubs and follows several runs.

usage: drive.py <server host:port> <emulator host:port> <directory of requests> <token> <metrics host:port>

The server has its own credential for the emulator, so requests without a secret work as well.
"""

import importlib.metadata
import importlib.util
import json
import ssl
import sys
import tempfile
import time
import urllib.request
from pathlib import Path

import checks
import grpc
from flyteidl2.connector import connector_pb2 as pb
from flyteidl2.connector import service_pb2_grpc
from flyteidl2.core.execution_pb2 import ContainerError, ErrorDocument, TaskExecution
from google.protobuf import json_format
from grpc_health.v1 import health_pb2, health_pb2_grpc
from prometheus_client import parser as text_parser
from prometheus_client.openmetrics import parser as openmetrics_parser

CONNECTOR_NAME = "Databricks Connector"
TASK_TYPE = "databricks"
TERMINAL = {TaskExecution.SUCCEEDED, TaskExecution.FAILED, TaskExecution.RETRYABLE_FAILED, TaskExecution.ABORTED}
# Maximum run time of a run of the emulator, in seconds.
RUN_TIMEOUT = 60
RPC_TIMEOUT = 10


def plugin_metadata_class() -> type:
    """Returns the class with which the Python plugin writes and reads resource_meta.

    Loads its module from the file, because the package imports Spark.
    """
    package = importlib.metadata.distribution("flyteplugins-databricks")
    path = package.locate_file("flyteplugins/databricks/connector.py")
    spec = importlib.util.spec_from_file_location("databricks_connector_plugin", path)
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    checks.note(f"PyPI flyteplugins-databricks {package.version}")
    return module.DatabricksJobMetadata


class Driver:
    """A connection to the server, with what all checks share."""

    def __init__(self, server: str, workspace: str, requests: Path, token: str) -> None:
        self.channel = grpc.insecure_channel(server)
        grpc.channel_ready_future(self.channel).result(timeout=30)
        self.tasks = service_pb2_grpc.AsyncConnectorServiceStub(self.channel)
        self.connectors = service_pb2_grpc.ConnectorMetadataServiceStub(self.channel)
        self.health = health_pb2_grpc.HealthStub(self.channel)
        self.workspace = workspace
        self.requests = requests
        self.token = token
        self.category = pb.TaskCategory(name=TASK_TYPE, version=0)
        self.outputs = Path(tempfile.mkdtemp(prefix="interop-outputs-"))
        (self.outputs / "outputs.pb").write_bytes(b"")

    def request(self, name: str, run_name: str) -> pb.CreateTaskRequest:
        """Returns a captured request, changed to name the emulator as its workspace.

        The run name selects the script of the run: scripts.json.
        """
        request = pb.CreateTaskRequest.FromString((self.requests / f"{name}.create.pb").read_bytes())
        request.template.custom["databricksInstance"] = self.workspace
        request.template.custom["databricksConf"]["run_name"] = run_name
        for key in request.connection.secrets:
            request.connection.secrets[key] = self.token
        # The outputs of the function are there already, because the emulator runs nothing.
        request.output_prefix = self.outputs.as_uri()
        return request

    def script_statements(self, containing: str, script: dict) -> None:
        """Sets the script of SQL statements that contain this text."""
        body = json.dumps({"containing": containing, "script": script}).encode()
        call = urllib.request.Request(f"https://{self.workspace}/emulator/v1/statements", data=body)
        # The emulator creates a new certificate at every start, and this is loopback.
        opener = urllib.request.build_opener(
            urllib.request.ProxyHandler({}),
            urllib.request.HTTPSHandler(context=ssl._create_unverified_context()),  # noqa: S323
        )
        opener.open(call, timeout=RPC_TIMEOUT).close()

    def create(self, request: pb.CreateTaskRequest) -> bytes:
        return self.tasks.CreateTask(request, timeout=RPC_TIMEOUT).resource_meta

    def get(self, meta: bytes, request: pb.CreateTaskRequest) -> pb.Resource:
        """Sends GetTask like the executor: with the connection of CreateTask."""
        message = pb.GetTaskRequest(
            resource_meta=meta,
            task_category=self.category,
            output_prefix=request.output_prefix,
            connection=request.connection,
        )
        return self.tasks.GetTask(message, timeout=RPC_TIMEOUT).resource

    def delete(self, meta: bytes, request: pb.CreateTaskRequest) -> pb.DeleteTaskResponse:
        message = pb.DeleteTaskRequest(
            resource_meta=meta, task_category=self.category, connection=request.connection
        )
        return self.tasks.DeleteTask(message, timeout=RPC_TIMEOUT)

    def follow(self, meta: bytes, request: pb.CreateTaskRequest) -> list[pb.Resource]:
        """Polls until the phase is terminal, and returns every response."""
        answers, deadline = [], time.monotonic() + RUN_TIMEOUT
        while time.monotonic() < deadline:
            answers.append(self.get(meta, request))
            if answers[-1].phase in TERMINAL:
                break
            time.sleep(0.1)
        return answers


def phases(answers: list[pb.Resource]) -> list[str]:
    """Returns the phases in order, without repetitions."""
    names = [TaskExecution.Phase.Name(answer.phase) for answer in answers]
    return [name for index, name in enumerate(names) if index == 0 or names[index - 1] != name]


def code_of(call: grpc.UnaryUnaryMultiCallable, message: object) -> str:
    """Returns the status code of a call. Reads a stream to its end."""
    try:
        answer = call(message, timeout=RPC_TIMEOUT)
        if hasattr(answer, "__iter__"):
            list(answer)
    except grpc.RpcError as error:
        return error.code().name
    return "OK"


def check_health(driver: Driver) -> None:
    serving = health_pb2.HealthCheckResponse.SERVING
    names = ["", "flyteidl2.connector.AsyncConnectorService", "flyteidl2.connector.ConnectorMetadataService"]
    for name in names:
        found = driver.health.Check(health_pb2.HealthCheckRequest(service=name), timeout=RPC_TIMEOUT).status
        checks.equal(f"health of {name or 'the whole server'} is SERVING", found, serving)
    unknown = code_of(driver.health.Check, health_pb2.HealthCheckRequest(service="unknown"))
    checks.equal("health of an unknown service is NOT_FOUND", unknown, "NOT_FOUND")


def check_metadata(driver: Driver) -> None:
    wanted = pb.Connector(name=CONNECTOR_NAME, supported_task_categories=[driver.category])
    listed = driver.connectors.ListConnectors(pb.ListConnectorsRequest(), timeout=RPC_TIMEOUT).connectors
    checks.equal("ListConnectors returns only the Databricks connector", list(listed), [wanted])
    one = driver.connectors.GetConnector(pb.GetConnectorRequest(name=CONNECTOR_NAME), timeout=RPC_TIMEOUT)
    checks.equal("GetConnector finds it by name", one.connector, wanted)
    unknown = code_of(driver.connectors.GetConnector, pb.GetConnectorRequest(name="unknown"))
    checks.equal("GetConnector of an unknown name is NOT_FOUND", unknown, "NOT_FOUND")


def check_meta(driver: Driver, metadata_class: type, meta: bytes) -> bytes:
    """Decodes and encodes resource_meta with the plugin's class. Returns the encoded bytes."""
    theirs = metadata_class.decode(meta)
    checks.equal("the plugin's class reads the workspace from our resource_meta", theirs.databricks_instance, driver.workspace)
    checks.holds("… and a decimal run id", isinstance(theirs.run_id, str) and theirs.run_id.isdecimal(), repr(theirs.run_id))
    written = theirs.encode()
    checks.equal("the class encodes the same JSON as the server", json.loads(written), json.loads(meta))
    return written


def check_success(driver: Driver, metadata_class: type, name: str) -> None:
    """A successful run, then its logs, metrics and deletion."""
    request = driver.request(name, "interop success")
    meta = driver.create(request)
    theirs = check_meta(driver, metadata_class, meta)
    checks.equal(f"{name}: a repeated request returns the same run", driver.create(request), meta)

    # From here on with the bytes that the plugin encoded.
    answers = driver.follow(theirs, request)
    seen = phases(answers)
    wanted = ["WAITING_FOR_RESOURCES", "INITIALIZING", "RUNNING", "SUCCEEDED"]
    checks.equal(f"{name}: the phases of a successful run", seen, wanted)
    checks.holds(f"{name}: a waiting run has a reason", "no free slot" in answers[0].message, repr(answers[0].message))
    links = [(link.name, link.uri) for link in answers[0].log_links]
    first_name, first_uri = links[0] if links else ("", "")
    checks.equal(f"{name}: the first link of the first response has the plugin's name", first_name, "Databricks Console")
    checks.holds(f"{name}: … and points to the workspace", first_uri.startswith(f"https://{driver.workspace}/"), first_uri)

    logs = pb.GetTaskLogsRequest(resource_meta=theirs, task_category=driver.category)
    parts = list(driver.tasks.GetTaskLogs(logs, timeout=RPC_TIMEOUT))
    checks.holds(f"{name}: the log stream has known parts", all(part.WhichOneof("part") for part in parts), repr(parts))
    lines = [line.message.rstrip("\n") for part in parts for line in part.body.lines]
    checks.holds(f"{name}: the log contains the output of the run", "hello from the run" in lines, repr(lines))
    check_metrics(driver, name, theirs)

    for again in ("finished", "deleted"):
        checks.equal(f"{name}: deleting a {again} run is OK", driver.delete(theirs, request), pb.DeleteTaskResponse())


def check_metrics(driver: Driver, name: str, meta: bytes) -> None:
    """Metrics of the run and of its machines."""
    request = pb.GetTaskMetricsRequest(resource_meta=meta, task_category=driver.category)
    results = driver.tasks.GetTaskMetrics(request, timeout=RPC_TIMEOUT).results
    data_of = {result.metric: json_format.MessageToDict(result.data) for result in results}
    checks.equal(f"{name}: there are ten metrics with distinct names", len(data_of), 10)
    matrices = all(data.get("resultType") == "matrix" for data in data_of.values())
    checks.holds(f"{name}: … each as the result of a range query", matrices, repr(data_of))
    states = data_of["databricks_run_tasks"]["result"]
    last = {series["metric"]["state"]: series["values"][-1][1] for series in states}
    checks.equal(f"{name}: … and the last sample counts the task as succeeded", last["succeeded"], "1")

    columns = "cluster_id instance_id driver node_type step cpu_percent memory_percent core_count memory_mb".split()
    row = [":cluster_0", "i-1", "true", "m5.xlarge", "0", "50.0", "25.0", "4.0", "16384"]
    rows = {"columns": [[column, "STRING"] for column in columns], "rows": [row]}
    driver.script_statements("system.compute.node_timeline", {"pending_polls": 1, "outcome": {"rows": rows}})
    request.queries.extend(["EXECUTION_METRIC_USED_CPU_AVG", "EXECUTION_METRIC_USED_MEMORY_BYTES_AVG"])
    results = driver.tasks.GetTaskMetrics(request, timeout=RPC_TIMEOUT).results
    values = [json_format.MessageToDict(result.data)["result"][0]["values"][0][1] for result in results]
    checks.equal(f"{name}: CPU and memory are read through the warehouse", values, ["2", "4294967296"])


def check_failure(driver: Driver, name: str) -> None:
    """A run whose code raises."""
    request = driver.request(name, "interop failure")
    last = driver.follow(driver.create(request), request)[-1]
    checks.equal(f"{name}: failed user code is retryable", phases([last]), ["RETRYABLE_FAILED"])
    checks.holds(f"{name}: the message contains the error", "ValueError: no such table" in last.message, repr(last.message))


def check_error_file(driver: Driver, name: str) -> None:
    """Databricks reports SUCCESS, and error.pb decides the phase."""
    error = ContainerError(code="KeyError", message="no such column", kind=ContainerError.NON_RECOVERABLE)
    for written, wanted, words in (
        (ErrorDocument(error=error).SerializeToString(), "FAILED", "KeyError: no such column"),
        (None, "RETRYABLE_FAILED", "neither outputs nor an error"),
    ):
        request = driver.request(name, "interop success")
        request.task_execution_metadata.task_execution_id.retry_attempt += 10 + len(words)
        prefix = Path(tempfile.mkdtemp(prefix="interop-outputs-"))
        if written:
            (prefix / "error.pb").write_bytes(written)
        request.output_prefix = prefix.as_uri()
        last = driver.follow(driver.create(request), request)[-1]
        checks.equal(f"{name}: error.pb decides: {wanted}", phases([last]), [wanted])
        checks.holds(f"{name}: … and the message has the reason", words in last.message, repr(last.message))


def check_cancel(driver: Driver, name: str) -> None:
    """A run that is deleted while active."""
    request = driver.request(name, "interop cancel")
    meta = driver.create(request)
    phase = driver.get(meta, request).phase
    checks.holds(f"{name}: the run is active", phase not in TERMINAL, TaskExecution.Phase.Name(phase))
    checks.equal(f"{name}: deleting an active run is OK", driver.delete(meta, request), pb.DeleteTaskResponse())
    last = driver.follow(meta, request)[-1]
    checks.equal(f"{name}: a deleted run ends as FAILED", phases([last]), ["FAILED"])


def check_token(driver: Driver, name: str) -> None:
    """The task's own token wins over the connector's valid one."""
    request = driver.request(name, "interop success")
    request.connection.secrets["databricks_token"] = "dapi-wrong"
    found = code_of(driver.tasks.CreateTask, request)
    checks.holds(f"{name}: a wrong token of the task is rejected", found in ("UNAUTHENTICATED", "PERMISSION_DENIED"), found)


def check_bad_input(driver: Driver, name: str) -> None:
    """Requests that can never succeed have a specific code."""
    meta = metadata_bytes(driver.workspace, "1")
    other = pb.TaskCategory(name="unknown", version=0)
    newer = pb.TaskCategory(name=TASK_TYPE, version=9)
    create = driver.request(name, "interop success")
    create.template.type = "unknown"
    checks.equal("CreateTask of an unknown type is NOT_FOUND", code_of(driver.tasks.CreateTask, create), "NOT_FOUND")
    calls = {
        "GetTask": (driver.tasks.GetTask, pb.GetTaskRequest),
        "DeleteTask": (driver.tasks.DeleteTask, pb.DeleteTaskRequest),
        "GetTaskMetrics": (driver.tasks.GetTaskMetrics, pb.GetTaskMetricsRequest),
        "GetTaskLogs": (driver.tasks.GetTaskLogs, pb.GetTaskLogsRequest),
    }
    for rpc, (call, message) in calls.items():
        for what, category in (("type", other), ("version", newer)):
            found = code_of(call, message(resource_meta=meta, task_category=category))
            checks.equal(f"{rpc} of an unknown {what} is NOT_FOUND", found, "NOT_FOUND")
        for what, bad in (("no JSON", b"\xff"), ("a run id of letters", metadata_bytes(driver.workspace, "x"))):
            found = code_of(call, message(resource_meta=bad, task_category=driver.category))
            checks.equal(f"{rpc} with a resource_meta of {what} is INVALID_ARGUMENT", found, "INVALID_ARGUMENT")
    create = driver.request(name, "interop success")
    del create.template.custom["databricksConf"]
    found = code_of(driver.tasks.CreateTask, create)
    checks.equal("CreateTask without databricksConf is INVALID_ARGUMENT", found, "INVALID_ARGUMENT")


def metadata_bytes(workspace: str, run_id: str) -> bytes:
    return json.dumps({"databricks_instance": workspace, "run_id": run_id}).encode()


def check_server_metrics(metrics: str) -> None:
    """The server's metrics, read in both formats by the parsers of prometheus_client."""
    for parse, accepted in (
        (text_parser.text_string_to_metric_families, "text/plain;version=0.0.4"),
        (openmetrics_parser.text_string_to_metric_families, "application/openmetrics-text;version=1.0.0"),
    ):
        request = urllib.request.Request(f"http://{metrics}/metrics", headers={"Accept": accepted})
        with urllib.request.urlopen(request, timeout=RPC_TIMEOUT) as answer:
            kind, text = answer.headers["Content-Type"], answer.read().decode()
        wanted = accepted.split(";")[0]
        checks.holds(f"metrics are served as {wanted} if Accept asks for it", kind.startswith(wanted), kind)
        samples = [sample for family in parse(text) for sample in family.samples]
        created = sum(
            sample.value
            for sample in samples
            if sample.name == "flyte_connector_rpcs_total" and sample.labels.get("method") == "CreateTask"
        )
        checks.holds(f"{wanted}: the parser accepts {len(samples)} samples, and calls are counted", created > 5, str(created))


def program(arguments: list[str]) -> None:
    server, workspace, requests, token, metrics = arguments
    checks.note(f"grpcio {grpc.__version__}, PyPI flyteidl2 {importlib.metadata.version('flyteidl2')}")
    metadata_class = plugin_metadata_class()
    driver = Driver(server, workspace, Path(requests), token)
    with checks.section("health"):
        check_health(driver)
    with checks.section("metadata"):
        check_metadata(driver)
    # With the connector's own credential, then with the task's.
    for name in ("40_executor_first_attempt", "01_new_cluster"):
        with checks.section(name):
            check_success(driver, metadata_class, name)
    with checks.section("failure"):
        check_failure(driver, "41_executor_second_attempt")
    with checks.section("error file"):
        check_error_file(driver, "40_executor_first_attempt")
    with checks.section("cancel"):
        check_cancel(driver, "02_existing_cluster")
    with checks.section("token"):
        check_token(driver, "01_new_cluster")
    with checks.section("bad input"):
        check_bad_input(driver, "01_new_cluster")
    with checks.section("server metrics"):
        check_server_metrics(metrics)


if __name__ == "__main__":
    checks.main(program)
