"""What Flyte's runtime leaves in object stores, read by the running server from stores that others wrote.

usage: stores.py <server> <workspace> <folder of requests> <token> <outcomes | refusals> <bucket address>...

The files are written as the runtime writes them, with obstore; but for fake-gcs-server, which takes no upload in the
form that obstore sends. How each store is reached is in the environment, the same for this program and for the server.
"""

import base64
import email.utils
import hashlib
import hmac
import json
import os
import time
import urllib.parse
import urllib.request
from pathlib import Path

import checks
from drive import Driver
from flyteidl2.core.execution_pb2 import ContainerError, ErrorDocument, TaskExecution
from obstore.store import AzureStore, S3Store

BUCKET = "flyte-data"

# The development account of Azure's documentation: it is everybody's, and no secret.
AZURE_ACCOUNT = "devstoreaccount1"
AZURE_KEY = "Eby8vdM02xNOcqFlqUwJPLlmEtlCDXJ1OUzFT50uSRZ6IFsuFq2UVErCz4I6tq/K1SZFPTOtr/KBHBeksoGMGw=="

PLAIN = {"allow_http": True}

# Behind it, an answer would come too late for the poll that asked.
LONGEST_LOOK = 3.0


class Google:
    """fake-gcs-server by the JSON form of Google's own client libraries."""

    def __init__(self) -> None:
        self.url = json.loads(Path(os.environ["GOOGLE_SERVICE_ACCOUNT"]).read_bytes())["gcs_base_url"]

    def make_bucket(self) -> None:
        """It begins without buckets."""
        body = json.dumps({"name": BUCKET}).encode()
        send(urllib.request.Request(f"{self.url}/storage/v1/b", body, {"Content-Type": "application/json"}))

    def put(self, path: str, content: bytes) -> None:
        query = urllib.parse.urlencode({"uploadType": "media", "name": path})
        url = f"{self.url}/upload/storage/v1/b/{BUCKET}/o?{query}"
        send(urllib.request.Request(url, content, {"Content-Type": "application/octet-stream"}))


def make_container_of_azure() -> None:
    """Azurite begins without containers, and obstore makes none. The request is signed as the service asks for."""
    date = email.utils.formatdate(usegmt=True)
    headers = f"x-ms-date:{date}\nx-ms-version:2021-12-02\n"
    # Eleven header fields that are empty stand between the method and the x-ms fields.
    resource = f"/{AZURE_ACCOUNT}/{AZURE_ACCOUNT}/{BUCKET}\nrestype:container"
    signed = "PUT" + "\n" * 12 + headers + resource
    digest = hmac.new(base64.b64decode(AZURE_KEY), signed.encode(), hashlib.sha256).digest()
    url = f"{os.environ['AZURITE_BLOB_STORAGE_URL']}/{AZURE_ACCOUNT}/{BUCKET}?restype=container"
    request = urllib.request.Request(url, method="PUT")
    request.add_header("x-ms-date", date)
    request.add_header("x-ms-version", "2021-12-02")
    request.add_header("Authorization", f"SharedKey {AZURE_ACCOUNT}:{base64.b64encode(digest).decode()}")
    send(request)


def send(request: urllib.request.Request) -> None:
    with urllib.request.build_opener(urllib.request.ProxyHandler({})).open(request, timeout=10) as answer:
        answer.read()


def store_of(address: str) -> AzureStore | Google | S3Store:
    """What writes to such an address."""
    match address.partition("://")[0]:
        case "s3":
            return S3Store(
                BUCKET,
                endpoint=os.environ["FLYTE_AWS_ENDPOINT"],
                access_key_id=os.environ["FLYTE_AWS_ACCESS_KEY_ID"],
                secret_access_key=os.environ["FLYTE_AWS_SECRET_ACCESS_KEY"],
                client_options=PLAIN,
            )
        case "gs":
            return Google()
        case _:
            return AzureStore(BUCKET, use_emulator=True, account_name=AZURE_ACCOUNT, client_options=PLAIN)


def error_file(kind: int) -> bytes:
    """error.pb as the runtime writes it."""
    error = ContainerError(code="ValueError", message="no such table", kind=kind)
    return ErrorDocument(error=error).SerializeToString()


OUTPUTS = {"outputs.pb": b"\n\x00"}
RECOVERABLE = {"error.pb": error_file(ContainerError.RECOVERABLE)}
LASTING = {"error.pb": error_file(ContainerError.NON_RECOVERABLE)}
OUTCOMES = [
    ("outputs.pb alone", "success", OUTPUTS, "SUCCEEDED", ""),
    ("a recoverable error.pb", "success", RECOVERABLE, "RETRYABLE_FAILED", "ValueError: no such table"),
    ("an error.pb that is not recoverable", "success", LASTING, "FAILED", "ValueError: no such table"),
    ("error.pb beside outputs.pb", "success", OUTPUTS | LASTING, "FAILED", "ValueError: no such table"),
    ("neither file", "success", {}, "RETRYABLE_FAILED", "neither outputs nor an error"),
    ("a failed run with a lasting error.pb", "failure", LASTING, "FAILED", "ValueError: no such table"),
    ("a failed run without files", "failure", {}, "RETRYABLE_FAILED", "the run's own error"),
]


def check_outcomes(driver: Driver, address: str) -> None:
    """Each pair of files gives its phase and its reason."""
    store, scheme = store_of(address), address.partition("://")[0]
    for number, (claim, ending, files, phase, text) in enumerate(OUTCOMES):
        # With characters that an address or a signature could get wrong.
        prefix = f"interop/{time.time_ns()}/a=1+b c/a0/{number + 1}"
        for name, content in files.items():
            store.put(f"{prefix}/{name}", content)
        request = driver.request("40_executor_first_attempt", f"stores {ending}")
        request.output_prefix = f"{address}/{prefix}"
        meta = driver.create(request)
        started = time.monotonic()
        answer = driver.follow(meta, request)[-1]
        seconds = time.monotonic() - started
        checks.equal(f"{scheme}: {claim}: {phase}", TaskExecution.Phase.Name(answer.phase), phase)
        if text:
            checks.holds(f"{scheme}: … and the message tells `{text}`", text in answer.message, repr(answer.message))
        checks.holds(f"{scheme}: … within {LONGEST_LOOK} s", seconds < LONGEST_LOOK, f"{seconds:.1f} s")


def check_refusal(driver: Driver, address: str) -> None:
    """The server has a key that the store does not take: nothing is called a success, and the message says why."""
    scheme, prefix = address.partition("://")[0], f"interop/{time.time_ns()}/a0/1"
    store_of(address).put(f"{prefix}/outputs.pb", OUTPUTS["outputs.pb"])
    request = driver.request("40_executor_first_attempt", "stores success")
    request.output_prefix = f"{address}/{prefix}"
    answer = driver.follow(driver.create(request), request)[-1]
    checks.equal(f"{scheme}: a store that refuses the server: FAILED", TaskExecution.Phase.Name(answer.phase), "FAILED")
    for text in ("whether the function failed cannot be seen", f"{prefix}/error.pb"):
        checks.holds(f"{scheme}: … and the message tells `{text}`", text in answer.message, repr(answer.message))
    for key in ("another-secret", "YW5vdGhlci1zZWNyZXQ"):
        checks.holds(f"{scheme}: … and no key", key not in answer.message, repr(answer.message))


def check_inputs(driver: Driver, address: str) -> None:
    """A pod template that asks for the inputs gets them in the same store."""
    scheme, prefix = address.partition("://")[0], f"interop/{time.time_ns()}/a0/1"
    request = driver.request("40_executor_first_attempt", "stores success")
    request.output_prefix = f"{address}/{prefix}"
    request.template.k8s_pod.primary_container_name = "main"
    request.template.k8s_pod.pod_spec["containers"] = [{"name": "main", "args": ["a0", "--inputs", "{{.input}}"]}]
    driver.create(request)
    written = bytes(store_of(address).get(f"{prefix}/inputs.pb").bytes())
    found = type(request.inputs).FromString(written)
    checks.equal(f"{scheme}: the connector writes the inputs for a pod template", found, request.inputs)


def program(arguments: list[str]) -> None:
    server, workspace, requests, token, what, *addresses = arguments
    driver = Driver(server, workspace, Path(requests), token)
    if what == "refusals":
        for address in addresses:
            with checks.section(address):
                check_refusal(driver, address)
        return
    Google().make_bucket()
    make_container_of_azure()
    for address in addresses:
        with checks.section(address):
            check_outcomes(driver, address)
            # fake-gcs-server refuses what object_store uploads as it refuses what obstore does.
            if not address.startswith("gs://"):
                check_inputs(driver, address)


if __name__ == "__main__":
    checks.main(program)
