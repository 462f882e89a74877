"""Authenticates Databricks' SDK at the emulator, to show that the emulator does not only suit our client.

usage: auth.py <emulator host:port> <emulator certificate> <token> <client id> <client secret>
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
        with checks.section(f"authentication with {kind}"):
            client = WorkspaceClient(host=host, auth_type=kind, **credential)
            who = client.current_user.me().user_name
            checks.equal(f"{kind}: the SDK reads the current user", who, "someone@example.com")
            runs = list(client.jobs.list_runs(limit=5))
            checks.holds(f"{kind}: the SDK lists runs", isinstance(runs, list))
    for kind, credential in wrong.items():
        with checks.section(f"authentication with {kind} and a wrong secret"):
            try:
                WorkspaceClient(host=host, auth_type=kind, **credential).current_user.me()
                outcome = "accepted"
            except (DatabricksError, ValueError) as error:
                outcome = f"rejected: {type(error).__name__}"
            checks.holds(f"{kind}: a wrong secret is rejected", outcome != "accepted", outcome)


if __name__ == "__main__":
    checks.main(program)
