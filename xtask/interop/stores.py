"""Checks that the server reads error.pb and outputs.pb from object stores.

usage: stores.py <server> <emulator> <directory of requests> <token> <outcomes | rejections> <bucket address>...

Files are written with obstore, like Flyte's runtime does, except to fake-gcs-server, which rejects obstore's uploads.
Environment variables configure access to the stores, for this program and the server alike.
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

# The development account of Azure's documentation. Not a secret.
AZURE_ACCOUNT = "devstoreaccount1"
AZURE_KEY = "Eby8vdM02xNOcqFlqUwJPLlmEtlCDXJ1OUzFT50uSRZ6IFsuFq2UVErCz4I6tq/K1SZFPTOtr/KBHBeksoGMGw=="

PLAIN = {"allow_http": True}

# Maximum time to read the files, in seconds. A slower response would exceed the deadline of a poll.
MAX_READ_TIME = 3.0


class Google:
    """Writes to fake-gcs-server with the JSON API of Google's client libraries."""

    def __init__(self) -> None:
        self.url = json.loads(Path(os.environ["GOOGLE_SERVICE_ACCOUNT"]).read_bytes())["gcs_base_url"]

    def make_bucket(self) -> None:
        """Creates the bucket; fake-gcs-server starts without one."""
        body = json.dumps({"name": BUCKET}).encode()
        send(urllib.request.Request(f"{self.url}/storage/v1/b", body, {"Content-Type": "application/json"}))

    def put(self, path: str, content: bytes) -> None:
        query = urllib.parse.urlencode({"uploadType": "media", "name": path})
        url = f"{self.url}/upload/storage/v1/b/{BUCKET}/o?{query}"
        send(urllib.request.Request(url, content, {"Content-Type": "application/octet-stream"}))


def make_azure_container() -> None:
    """Creates the container with a signed request; Azurite starts without one, and obstore creates none."""
    date = email.utils.formatdate(usegmt=True)
    headers = f"x-ms-date:{date}\nx-ms-version:2021-12-02\n"
    # The string to sign has eleven empty header fields between the method and the x-ms headers.
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
    """Returns a client that writes to the address."""
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
    """Returns error.pb as the runtime writes it."""
    error = ContainerError(code="ValueError", message="no such table", kind=kind)
    return ErrorDocument(error=error).SerializeToString()


OUTPUTS = {"outputs.pb": b"\n\x00"}
RECOVERABLE = {"error.pb": error_file(ContainerError.RECOVERABLE)}
NON_RECOVERABLE = {"error.pb": error_file(ContainerError.NON_RECOVERABLE)}
OUTCOMES = [
    ("outputs.pb alone", "success", OUTPUTS, "SUCCEEDED", ""),
    ("a recoverable error.pb", "success", RECOVERABLE, "RETRYABLE_FAILED", "ValueError: no such table"),
    ("a non-recoverable error.pb", "success", NON_RECOVERABLE, "FAILED", "ValueError: no such table"),
    ("error.pb beside outputs.pb", "success", OUTPUTS | NON_RECOVERABLE, "FAILED", "ValueError: no such table"),
    ("neither file", "success", {}, "RETRYABLE_FAILED", "neither outputs nor an error"),
    ("a failed run with a non-recoverable error.pb", "failure", NON_RECOVERABLE, "FAILED", "ValueError: no such table"),
    ("a failed run without files", "failure", {}, "RETRYABLE_FAILED", "the run's own error"),
]


def check_outcomes(driver: Driver, address: str) -> None:
    """Each set of files leads to its phase and message."""
    store, scheme = store_of(address), address.partition("://")[0]
    for number, (claim, ending, files, phase, text) in enumerate(OUTCOMES):
        # Characters that need escaping in URLs and signatures.
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
            checks.holds(f"{scheme}: … and the message contains `{text}`", text in answer.message, repr(answer.message))
        checks.holds(f"{scheme}: … within {MAX_READ_TIME} s", seconds < MAX_READ_TIME, f"{seconds:.1f} s")


def check_rejection(driver: Driver, address: str) -> None:
    """The store rejects the server's key: the task fails, and the message has the reason."""
    scheme, prefix = address.partition("://")[0], f"interop/{time.time_ns()}/a0/1"
    store_of(address).put(f"{prefix}/outputs.pb", OUTPUTS["outputs.pb"])
    request = driver.request("40_executor_first_attempt", "stores success")
    request.output_prefix = f"{address}/{prefix}"
    answer = driver.follow(driver.create(request), request)[-1]
    checks.equal(f"{scheme}: a store that rejects the server's key: FAILED", TaskExecution.Phase.Name(answer.phase), "FAILED")
    for text in ("cannot determine whether the function failed", f"{prefix}/error.pb"):
        checks.holds(f"{scheme}: … and the message contains `{text}`", text in answer.message, repr(answer.message))
    for key in ("another-secret", "YW5vdGhlci1zZWNyZXQ"):
        checks.holds(f"{scheme}: … and contains no key", key not in answer.message, repr(answer.message))


def check_inputs(driver: Driver, address: str) -> None:
    """The inputs of a pod template are written to the same store."""
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
    if what == "rejections":
        for address in addresses:
            with checks.section(address):
                check_rejection(driver, address)
        return
    Google().make_bucket()
    make_azure_container()
    for address in addresses:
        with checks.section(address):
            check_outcomes(driver, address)
            # fake-gcs-server rejects the uploads of object_store, like those of obstore.
            if not address.startswith("gs://"):
                check_inputs(driver, address)


if __name__ == "__main__":
    checks.main(program)
