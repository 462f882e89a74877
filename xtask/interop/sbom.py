"""Validates the software bill of materials with CycloneDX's library."""

import json
from pathlib import Path

from cyclonedx.schema import SchemaVersion
from cyclonedx.validation.json import JsonStrictValidator

import checks


def program(args: list[str]) -> None:
    text = Path(args[0]).read_text(encoding="utf-8")
    problem = JsonStrictValidator(SchemaVersion.V1_5).validate_str(text)
    checks.holds("the document conforms to CycloneDX 1.5", problem is None, str(problem))
    document = json.loads(text)
    components = document["components"]
    names = {component["name"] for component in components}
    checks.note(f"{len(components)} components")
    checks.equal("the document describes the server", document["metadata"]["component"]["name"], "connector-server")
    missing = {"rustls", "aws-lc-rs", "tonic", "reqwest", "kube", "databricks-connector", "databricks-client"} - names
    checks.equal("known dependencies are listed", missing, set())
    unexpected = names & {"ring", "openssl-sys", "native-tls", "insta", "proptest", "xshell"}
    checks.equal("a second TLS stack and test dependencies are not listed", unexpected, set())
    unlicensed = [component["name"] for component in components if not component.get("licenses")]
    checks.equal("every component has a licence", unlicensed, [])
    unknown = [
        component["name"]
        for component in components
        if not component["purl"].startswith(f"pkg:cargo/{component['name']}@{component['version']}")
    ]
    checks.equal("every component has a package URL, which advisories refer to", unknown, [])
    here = str(Path(__file__).resolve().parents[2])
    checks.holds("the document does not contain the local path", here not in text)


if __name__ == "__main__":
    checks.main(program)
