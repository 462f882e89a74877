"""Reads the list of what the server is made of with the library of those who made the format."""

import json
from pathlib import Path

from cyclonedx.schema import SchemaVersion
from cyclonedx.validation.json import JsonStrictValidator

import checks


def program(args: list[str]) -> None:
    text = Path(args[0]).read_text(encoding="utf-8")
    problem = JsonStrictValidator(SchemaVersion.V1_5).validate_str(text)
    checks.holds("the list keeps to the schema of CycloneDX 1.5", problem is None, str(problem))
    document = json.loads(text)
    components = document["components"]
    names = {component["name"] for component in components}
    checks.note(f"{len(components)} components")
    checks.equal("it is about the server", document["metadata"]["component"]["name"], "connector-server")
    missing = {"rustls", "aws-lc-rs", "tonic", "reqwest", "kube", "databricks-connector", "databricks-client"} - names
    checks.equal("what the server is known to use is listed", missing, set())
    strangers = names & {"ring", "openssl-sys", "native-tls", "insta", "proptest", "xshell"}
    checks.equal("a second TLS stack and what only tests use are not", strangers, set())
    unlicensed = [component["name"] for component in components if not component.get("licenses")]
    checks.equal("every component has its licence", unlicensed, [])
    unknown = [
        component["name"]
        for component in components
        if not component["purl"].startswith(f"pkg:cargo/{component['name']}@{component['version']}")
    ]
    checks.equal("every component has the name and version by which advisories know it", unknown, [])
    here = str(Path(__file__).resolve().parents[2])
    checks.holds("it does not tell where it was written", here not in text)


if __name__ == "__main__":
    checks.main(program)
