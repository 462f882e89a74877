"""Runs SQL statements of Databricks' SDK at the emulator, to show that the emulator does not only suit our client.

usage: statements.py <emulator host:port> <emulator certificate> <token> <warehouse>
"""

import os
import time

import checks
import requests
from databricks.sdk import WorkspaceClient
from databricks.sdk.errors import DatabricksError
from databricks.sdk.service.sql import (
    Disposition,
    ExecuteStatementRequestOnWaitTimeout,
    StatementParameterListItem,
    StatementState,
)

TEXT = "SELECT instance_id, cpu FROM system.compute.node_timeline WHERE cluster_id = :cluster AND cpu > :least"
BOUND = [
    StatementParameterListItem(name="cluster", value="0801-120000-abcdefgh"),
    StatementParameterListItem(name="least", value="10", type="DOUBLE"),
]
ROWS = [["0801-120000-abcdefgh", "12.5"], ["i-2", None], ["i-3", "80.0"]]


class Workspace:
    """The emulator: its administration calls and the SDK's client."""

    def __init__(self, address: str, certificate: str, token: str) -> None:
        self.admin = f"https://{address}/emulator/v1"
        self.certificate = certificate
        self.statements = WorkspaceClient(host=f"https://{address}", token=token).statement_execution

    def script(self, **script: object) -> None:
        """Sets the script of the statement TEXT."""
        table = {"columns": [["instance_id", "STRING"], ["cpu", "DOUBLE"]], "rows": [[":cluster", "12.5"], *ROWS[1:]]}
        body = {"containing": "FROM system.compute.node_timeline", "script": {"outcome": {"rows": table}, **script}}
        requests.post(f"{self.admin}/statements", json=body, verify=self.certificate, timeout=10).raise_for_status()


def program(arguments: list[str]) -> None:
    address, certificate, token, warehouse = arguments
    os.environ["REQUESTS_CA_BUNDLE"] = certificate
    os.environ["NO_PROXY"] = "localhost,127.0.0.1"
    workspace = Workspace(address, certificate, token)
    statements = workspace.statements

    with checks.section("a statement with inline rows"):
        workspace.script(rows_per_chunk=2)
        answer = statements.execute_statement(TEXT, warehouse, parameters=BOUND, wait_timeout="30s")
        checks.equal("a statement succeeds", answer.status.state, StatementState.SUCCEEDED)
        columns = [column.name for column in answer.manifest.schema.columns]
        checks.equal("… with its columns", columns, ["instance_id", "cpu"])
        checks.equal("… and the first rows, with bound parameters", answer.result.data_array, ROWS[:2])
        more = statements.get_statement_result_chunk_n(answer.statement_id, answer.result.next_chunk_index)
        checks.equal("… and the last rows in a second chunk", (more.data_array, more.next_chunk_index), (ROWS[2:], None))

    with checks.section("a polled statement"):
        workspace.script(pending_polls=1, running_polls=1)
        answer = statements.execute_statement(TEXT, warehouse, parameters=BOUND, wait_timeout="0s")
        states = [answer.status.state]
        while len(states) < 10 and states[-1] in (StatementState.PENDING, StatementState.RUNNING):
            time.sleep(0.01)
            states.append(statements.get_statement(answer.statement_id).status.state)
        checks.equal("the SDK reads every state", [state.value for state in dict.fromkeys(states)], ["PENDING", "RUNNING", "SUCCEEDED"])

    with checks.section("rows at external links"):
        workspace.script(rows_per_chunk=2, link_headers={"x-amz-test": "1"})
        answer = statements.execute_statement(TEXT, warehouse, parameters=BOUND, disposition=Disposition.EXTERNAL_LINKS)
        link = answer.result.external_links[0]
        found = requests.get(link.external_link, headers=link.http_headers, timeout=10)
        checks.equal("an external link returns the rows", found.json(), ROWS[:2])
        signed = {**link.http_headers, "Authorization": f"Bearer {token}"}
        rejected = requests.get(link.external_link, headers=signed, timeout=10)
        checks.equal("… and rejects an Authorization header", rejected.status_code, 400)

    with checks.section("cancelled, failed and rejected statements"):
        workspace.script(pending_polls=1000)
        answer = statements.execute_statement(TEXT, warehouse, parameters=BOUND, wait_timeout="0s")
        statements.cancel_execution(answer.statement_id)
        state = statements.get_statement(answer.statement_id).status.state
        checks.equal("the SDK cancels a statement", state, StatementState.CANCELED)
        on_timeout = ExecuteStatementRequestOnWaitTimeout.CANCEL
        answer = statements.execute_statement(TEXT, warehouse, parameters=BOUND, on_wait_timeout=on_timeout)
        checks.equal("… and on_wait_timeout=CANCEL cancels it after the wait", answer.status.state, StatementState.CANCELED)
        failed = statements.execute_statement(TEXT, warehouse, parameters=BOUND[:1])
        checks.equal("a parameter without a value fails", failed.status.state, StatementState.FAILED)
        checks.holds("… and the error names it", "least" in failed.status.error.message, repr(failed.status.error))
        for claim, wrong in (
            ("an unknown warehouse", {"warehouse_id": "other"}),
            ("no warehouse", {"warehouse_id": ""}),
            ("a disallowed wait", {"wait_timeout": "3s"}),
            ("a value that is not a number", {"parameters": [BOUND[0], StatementParameterListItem(name="least", value="x", type="DOUBLE")]}),
        ):
            try:
                statements.execute_statement(**{"statement": TEXT, "warehouse_id": warehouse, "parameters": BOUND, **wrong})
                outcome = "accepted"
            except DatabricksError as error:
                outcome = f"rejected: {error.error_code}"
            checks.holds(f"{claim} is rejected", outcome != "accepted", outcome)


if __name__ == "__main__":
    checks.main(program)
