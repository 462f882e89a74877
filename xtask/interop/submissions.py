"""Passes every submitted body through the models of Databricks' own SDK, and back.

usage: submissions.py <folder of snapshots>...

What the models lose on the way is something that Databricks' SDK does not know: it must be a key that the user wrote.
"""

import inspect
import json
from pathlib import Path

import checks
from databricks.sdk.service.jobs import JobsAPI, SubmitTask

# Keys that the tasks of our tests write although no model knows them: they are there to show that nothing is dropped.
USERS_OWN = {"quantum_task", "something_new"}


def body_of(snapshot: Path) -> dict | None:
    """The JSON below the head of an insta snapshot; none when the snapshot is of something else."""
    _, _, text = snapshot.read_text().split("---\n", 2)
    body = json.loads(text)
    return body if isinstance(body, dict) and "tasks" in body else None


def lost(sent: object, back: object, path: str) -> list[str]:
    """The paths of what was sent and did not come back."""
    if isinstance(sent, dict):
        kept = back if isinstance(back, dict) else {}
        missing = [f"{path}.{key}" for key in sent if key not in kept]
        return missing + [name for key in sent if key in kept for name in lost(sent[key], kept[key], f"{path}.{key}")]
    if isinstance(sent, list):
        kept = back if isinstance(back, list) and len(back) == len(sent) else [None] * len(sent)
        return [name for n, item in enumerate(sent) for name in lost(item, kept[n], f"{path}[{n}]")]
    return [] if sent == back else [f"{path} (was {sent!r}, came back as {back!r})"]


def is_users_own(path: str) -> bool:
    return any(part.split("[")[0] in USERS_OWN for part in path.split("."))


def check(name: str, body: dict, known: set[str]) -> None:
    losses = [f"run.{key}" for key in body if key not in known]
    for n, task in enumerate(body["tasks"]):
        losses += lost(task, SubmitTask.from_dict(task).as_dict(), f"tasks[{n}]")
    strange = [path for path in losses if not is_users_own(path)]
    checks.equal(f"{name}: Databricks' models know every key that is ours", strange, [])


def program(folders: list[str]) -> None:
    known = set(inspect.signature(JobsAPI.submit).parameters)
    bodies = {path.stem: body_of(path) for folder in folders for path in sorted(Path(folder).glob("*.snap"))}
    submitted = {name: body for name, body in bodies.items() if body is not None}
    checks.holds("there are submissions to look at", len(submitted) > 10, f"found {len(submitted)}")
    for name, body in submitted.items():
        with checks.section(name):
            check(name, body, known)
    with checks.section("the comparison notices a loss"):
        checks.equal(
            "a key that no model knows is noticed",
            lost({"a": 1, "new_cluster": {"num_worker": 1}}, {"new_cluster": {}}, "t"),
            ["t.a", "t.new_cluster.num_worker"],
        )


if __name__ == "__main__":
    checks.main(program)
