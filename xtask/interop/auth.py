"""Lets Databricks' own SDK into the fake workspace, so that the emulator is not bent to our client.

usage: auth.py <host:port of the workspace> <its certificate> <token> <client id> <client secret>
"""

import os

import checks
from databricks.sdk import WorkspaceClient
from databricks.sdk.errors import DatabricksError


def program(arguments: list[str]) -> None:
    workspace, certificate, token, client_id, client_secret = arguments
    os.environ["REQUESTS_CA_BUNDLE"] = certificate
    os.environ["NO_PROXY"] = "localhost,127.0.0.1"
    host = f"https://{workspace}"
    right = {
        "pat": {"token": token},
        "oauth-m2m": {"client_id": client_id, "client_secret": client_secret},
    }
    wrong = {
        "pat": {"token": "dapi-wrong"},
        "oauth-m2m": {"client_id": client_id, "client_secret": "wrong"},
    }
    for kind, credential in right.items():
        with checks.section(f"the SDK by {kind}"):
            client = WorkspaceClient(host=host, auth_type=kind, **credential)
            who = client.current_user.me().user_name
            checks.equal(f"the SDK by {kind} is told who it is", who, "someone@example.com")
            runs = list(client.jobs.list_runs(limit=5))
            checks.holds(f"the SDK by {kind} lists runs", isinstance(runs, list))
    for kind, credential in wrong.items():
        with checks.section(f"the SDK by {kind} with a wrong secret"):
            try:
                WorkspaceClient(host=host, auth_type=kind, **credential).current_user.me()
                refused = "let in"
            except (DatabricksError, ValueError) as error:
                refused = f"refused: {type(error).__name__}"
            checks.holds(f"the SDK by {kind} with a wrong secret is refused", refused != "let in", refused)


if __name__ == "__main__":
    checks.main(program)
