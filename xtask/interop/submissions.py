"""Decodes and encodes every submitted body with the models of Databricks' SDK.

usage: submissions.py <directory of snapshots>...

A key that the models drop is unknown to the SDK. Only keys that the user wrote may be unknown.
"""

import inspect
import json
from pathlib import Path

import checks
from databricks.sdk.service.jobs import JobsAPI, SubmitTask

# Unknown keys that our tests use to show that the connector drops nothing.
USER_KEYS = {"quantum_task", "something_new"}


def body_of(snapshot: Path) -> dict | None:
    """Returns the submitted body of an insta snapshot, or None for other snapshots."""
    _, _, text = snapshot.read_text().split("---\n", 2)
    body = json.loads(text)
    return body if isinstance(body, dict) and "tasks" in body else None


def dropped(sent: object, back: object, path: str) -> list[str]:
    """Returns the paths of `sent` that are missing or different in `back`."""
    if isinstance(sent, dict):
        kept = back if isinstance(back, dict) else {}
        missing = [f"{path}.{key}" for key in sent if key not in kept]
        return missing + [name for key in sent if key in kept for name in dropped(sent[key], kept[key], f"{path}.{key}")]
    if isinstance(sent, list):
        kept = back if isinstance(back, list) and len(back) == len(sent) else [None] * len(sent)
        return [name for n, item in enumerate(sent) for name in dropped(item, kept[n], f"{path}[{n}]")]
    return [] if sent == back else [f"{path} (was {sent!r}, came back as {back!r})"]


def is_user_key(path: str) -> bool:
    return any(part.split("[")[0] in USER_KEYS for part in path.split("."))


def check(name: str, body: dict, known: set[str]) -> None:
    losses = [f"run.{key}" for key in body if key not in known]
    for n, task in enumerate(body["tasks"]):
        losses += dropped(task, SubmitTask.from_dict(task).as_dict(), f"tasks[{n}]")
    unknown = [path for path in losses if not is_user_key(path)]
    checks.equal(f"{name}: the SDK knows every key that the connector adds", unknown, [])


def program(folders: list[str]) -> None:
    known = set(inspect.signature(JobsAPI.submit).parameters)
    bodies = {path.stem: body_of(path) for folder in folders for path in sorted(Path(folder).glob("*.snap"))}
    submitted = {name: body for name, body in bodies.items() if body is not None}
    checks.holds("there are submissions", len(submitted) > 10, f"found {len(submitted)}")
    for name, body in submitted.items():
        with checks.section(name):
            check(name, body, known)
    with checks.section("the comparison detects a dropped key"):
        checks.equal(
            "an unknown key is detected",
            dropped({"a": 1, "new_cluster": {"num_worker": 1}}, {"new_cluster": {}}, "t"),
            ["t.a", "t.new_cluster.num_worker"],
        )


if __name__ == "__main__":
    checks.main(program)
