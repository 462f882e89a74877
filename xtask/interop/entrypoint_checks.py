"""Runs our entrypoint script as Databricks would, with the real Flyte runtime and tasks of the real SDK.

usage: entrypoint_checks.py <entrypoint script> <a folder of its own> [<s3://bucket>]

With a bucket, what touches the store is tried there too. The variables FLYTE_AWS_* say how it is reached.
"""

import importlib.metadata
import os
import shutil
import subprocess
import sys
import time
import venv
from dataclasses import dataclass
from pathlib import Path

import checks
import flyte_task
from flyte._task import TaskTemplate
from flyte.models import CodeBundle
from flyte_task import PROJECT, Place

sys.path.insert(0, str(PROJECT))

import plain_tasks  # noqa: E402
import spark_jobs  # noqa: E402

# None takes a fourth of it here.
PATIENCE = 60

# What a driver has of ours: with what to reach the store, and no variable of Flyte beside.
ENVIRONMENT = (
    "PATH",
    "JAVA_HOME",
    "HOME",
    "FLYTE_AWS_ENDPOINT",
    "FLYTE_AWS_ACCESS_KEY_ID",
    "FLYTE_AWS_SECRET_ACCESS_KEY",
)

# A process whose main thread runs an event loop while the script does, and where the script has no file of its own:
# so it is in a notebook's kernel.
IN_A_LOOP = """
import asyncio, sys

async def cell():
    script, *sys.argv[1:] = sys.argv[1:]
    sys.argv[0] = script
    source = open(script).read()
    exec(compile(source, "<cell>", "exec"), {"__name__": "__main__"})

asyncio.run(cell())
"""

# As above, and standard error is an object that only knows how to write.
WITHOUT_DESCRIPTOR = (
    """
class Cell:
    def write(self, text): sys.__stderr__.write(text)
    def flush(self): sys.__stderr__.flush()

import sys
sys.stderr = Cell()
"""
    + IN_A_LOOP
)


@dataclass
class Ended:
    """What became of one run of the script."""

    code: int
    stderr: str
    outputs: str
    seconds: float

    @property
    def last_line(self) -> str:
        lines = [line for line in self.stderr.splitlines() if line.strip()]
        return lines[-1] if lines else ""

    def value(self) -> object:
        content = self.file("outputs.pb")
        return None if content is None else flyte_task.output(content)

    def file(self, name: str) -> bytes | None:
        """The content of what a0 wrote, if it did."""
        return flyte_task.read(f"{self.outputs}/{name}")


class Workspace:
    """Runs the script, each time in fresh folders."""

    def __init__(self, script: Path, folder: Path, base: str) -> None:
        self.script = script
        self.folder = folder
        self.base = base
        self.count = 0

    def place(self) -> Place:
        """An empty place for one more run."""
        self.count += 1
        place = Place(base=f"{self.base}/{time.time_ns()}-{self.count}", run=f"r{self.count}")
        # An object store needs no folders. In files, the executor's own writer has made this one.
        flyte_task.write(f"{place.outputs}/.keep", b"")
        return place

    def archive(self, place: Place) -> CodeBundle:
        return flyte_task.archive().uploaded(place.base)

    def arguments(self, task: TaskTemplate, bundle: CodeBundle | None, place: Place, **values: object) -> list[str]:
        """The arguments of the task, whose inputs are written to where they say."""
        inputs = flyte_task.inputs(task, **values)
        flyte_task.write(place.inputs, inputs.SerializeToString())
        return flyte_task.completed(list(flyte_task.template(task, bundle, place).container.args), place)

    def run(
        self,
        place: Place,
        arguments: list[str],
        variables: dict[str, str] | None = None,
        around: str | None = None,
        python: str = sys.executable,
    ) -> Ended:
        """Runs the script with the arguments, the variables as its own flags, in a folder that is nobody's."""
        pairs = [part for key, value in (variables or {}).items() for part in ("--env", f"{key}={value}")]
        program = ["-c", around] if around else []
        environment = {key: os.environ[key] for key in ENVIRONMENT if key in os.environ}
        elsewhere = self.folder / "elsewhere"
        elsewhere.mkdir(exist_ok=True)
        started = time.monotonic()
        done = subprocess.run(
            [python, "-B", *program, str(self.script), *pairs, *arguments],
            cwd=elsewhere,
            env={**environment, "NAMED_BEFORE": "driver"},
            capture_output=True,
            text=True,
            timeout=PATIENCE,
            check=False,
        )
        seconds = time.monotonic() - started
        return Ended(done.returncode, done.stderr, place.outputs, seconds)


def check_success(workspace: Workspace) -> None:
    """Every form in which a0 gets its code."""
    for form in ("tgz", "pkl", "no bundle"):
        task, place, variables = plain_tasks.add_later, workspace.place(), {}
        if form == "tgz":
            bundle = workspace.archive(place)
        elif form == "pkl":
            bundle = flyte_task.pickled(task, plain_tasks).uploaded(place.base)
        else:
            # So it is in an image that has the code: the variable says where.
            bundle, variables = None, {"_F_SYS_PATH": str(PROJECT)}
        ended = workspace.run(place, workspace.arguments(task, bundle, place, left=19, right=23), variables)
        succeeded(form, ended, 42)
    place = workspace.place()
    ended = workspace.run(place, workspace.arguments(plain_tasks.nothing, workspace.archive(place), place))
    ended_well("no outputs", ended)
    checks.holds("no outputs: outputs.pb is written all the same", ended.file("outputs.pb") is not None)


def ended_well(claim: str, ended: Ended) -> None:
    checks.holds(f"{claim}: ends well ({ended.seconds:.1f} s)", ended.code == 0, f"code {ended.code}\n{ended.stderr}")
    checks.holds(f"{claim}: there is no error.pb", ended.file("error.pb") is None)


def succeeded(claim: str, ended: Ended, value: object) -> None:
    ended_well(claim, ended)
    checks.equal(f"{claim}: outputs.pb has the value", ended.value(), value)


def check_failure(workspace: Workspace) -> None:
    """a0 ends well after a failure of the user's code, and the script does not."""
    for task, last_line, kind in (
        (plain_tasks.boom, "ValueError: boom", "RECOVERABLE"),
        (plain_tasks.boom_for_good, "NonRecoverableError: bad input", "NON_RECOVERABLE"),
    ):
        place, name = workspace.place(), task.name
        ended = workspace.run(place, workspace.arguments(task, workspace.archive(place), place))
        checks.equal(f"{name}: the script ends with 1", ended.code, 1)
        checks.equal(f"{name}: its last line is the error", ended.last_line, last_line)
        checks.holds(f"{name}: it tells the kind", f"({kind})" in ended.stderr, ended.stderr)
        error = flyte_task.error(ended.file("error.pb") or b"")
        checks.equal(f"{name}: error.pb has the kind", error.Kind.Name(error.kind), kind)
        checks.holds(f"{name}: there is no outputs.pb", ended.file("outputs.pb") is None)
    place = workspace.place()
    arguments = workspace.arguments(plain_tasks.add, workspace.archive(place), place, left=1, right=2)
    for claim, ended, last_line in (
        (
            "a task that is not in the code",
            workspace.run(place, [*arguments[:-1], "not_there"]),
            "AttributeError: module 'plain_tasks' has no attribute 'not_there'",
        ),
        (
            "a module that is not in the code",
            workspace.run(place, [*arguments[:-3], "no_module", *arguments[-2:]]),
            "ModuleNotFoundError: No module named 'no_module'",
        ),
    ):
        checks.equal(f"{claim}: ends with 1", ended.code, 1)
        checks.holds(f"{claim}: error.pb is written", ended.file("error.pb") is not None)
        checks.equal(f"{claim}: its last line is the error", ended.last_line, last_line)
    # Without an error file, what the runtime raises is all there is: here it cannot even say where to.
    place = workspace.place()
    arguments = workspace.arguments(plain_tasks.add, workspace.archive(place), place, left=1, right=2)
    ended = workspace.run(place, ["a0", *arguments[1:3], *arguments[5:]])
    checks.equal(
        "a0 that raises: ends with 1 and the reason",
        (ended.code, ended.last_line),
        (1, "AssertionError: Org is required for now"),
    )


def check_stale_error(workspace: Workspace) -> None:
    """An error of an earlier attempt of Databricks, in the same place, does not outlive its success."""
    place = workspace.place()
    flyte_task.write(f"{place.outputs}/error.pb", b"left here")
    ended = workspace.run(place, workspace.arguments(plain_tasks.add, workspace.archive(place), place, left=1, right=2))
    succeeded("stale error.pb", ended, 3)


def check_unreadable_error(workspace: Workspace) -> None:
    """A store may say of a missing file that it must not be read, and this file system says so of a folder."""
    place = workspace.place()
    flyte_task.write(f"{place.outputs}/error.pb/folder", b"")
    arguments = workspace.arguments(plain_tasks.add, workspace.archive(place), place, left=1, right=2)
    ended = workspace.run(place, arguments)
    checks.equal("an error.pb that cannot be read: outputs.pb decides", (ended.code, ended.value()), (0, 3))
    checks.holds("an error.pb that cannot be removed: a warning says so", "cannot remove" in ended.stderr, ended.stderr)

    for task, reason in (
        (plain_tasks.boom, "IsADirectoryError: "),
        (plain_tasks.leave, "flyte_entrypoint: cannot read "),
    ):
        place = workspace.place()
        flyte_task.write(f"{place.outputs}/error.pb/folder", b"")
        ended = workspace.run(place, workspace.arguments(task, workspace.archive(place), place))
        checks.equal(f"{task.name}, neither file can be read: ends with 1", ended.code, 1)
        # asyncio may have a word after ours when the interpreter ends.
        checks.holds(f"{task.name}: it says why", f"\n{reason}" in ended.stderr, ended.stderr)


def check_variables(workspace: Workspace) -> None:
    """What the connector sends as --env is there before Flyte is."""
    for name, wanted in (("MINE", "a=b c"), ("EMPTY", ""), ("NAMED_BEFORE", "task"), ("HOME", os.environ.get("HOME"))):
        place = workspace.place()
        given = {} if name == "HOME" else {name: wanted}
        ended = workspace.run(
            place, workspace.arguments(plain_tasks.variable, workspace.archive(place), place, name=name), given
        )
        succeeded(f"variable {name}", ended, wanted)
    # click takes these from variables, so that they need not be among the arguments.
    place = workspace.place()
    arguments = workspace.arguments(plain_tasks.add, workspace.archive(place), place, left=1, right=2)
    variables = {
        "_U_RUN_BASE": f"{place.base}/{place.run}",
        "_U_ORG_NAME": "local",
        "FLYTE_INTERNAL_EXECUTION_PROJECT": "p",
        "FLYTE_INTERNAL_EXECUTION_DOMAIN": "d",
    }
    succeeded("identity by variables", workspace.run(place, [arguments[0], *arguments[9:]], variables), 3)


def check_surroundings(workspace: Workspace) -> None:
    """What a driver is that a pod is not."""
    for claim, around in (("inside a running event loop", IN_A_LOOP), ("without a descriptor", WITHOUT_DESCRIPTOR)):
        place = workspace.place()
        arguments = workspace.arguments(plain_tasks.add_later, workspace.archive(place), place, left=1, right=2)
        succeeded(claim, workspace.run(place, arguments, around=around), 3)
        place = workspace.place()
        arguments = workspace.arguments(plain_tasks.boom, workspace.archive(place), place)
        ended = workspace.run(place, arguments, around=around)
        checks.equal(f"{claim}: a failure is one", (ended.code, ended.last_line), (1, "ValueError: boom"))

    place = workspace.place()
    ended = workspace.run(place, workspace.arguments(plain_tasks.place, workspace.archive(place), place))
    folder, _, file = str(ended.value()).partition("|")
    checks.holds("code is unpacked into a folder of the run's own", Path(file).parent.resolve() == Path(folder), file)
    checks.holds("that folder is gone afterwards", not Path(folder).exists(), folder)
    checks.equal("nothing is left where the driver works", sorted((workspace.folder / "elsewhere").iterdir()), [])

    place = workspace.place()
    ended = workspace.run(place, workspace.arguments(plain_tasks.checkpoint, workspace.archive(place), place))
    succeeded("two quotes are no path of a checkpoint", ended, "none")


def check_wrong_use(workspace: Workspace) -> None:
    """One line, and no traceback, for what the connector or the cluster got wrong."""
    place = workspace.place()
    arguments = workspace.arguments(plain_tasks.add, workspace.archive(place), place, left=1, right=2)
    bare = workspace.folder / "bare"
    venv.create(bare, with_pip=False)
    for claim, ended, wanted in (
        ("no arguments", workspace.run(place, []), "expected [--env KEY=VALUE]... and then `a0`"),
        ("another command", workspace.run(place, ["clustered", *arguments[1:]]), "not `clustered`"),
        ("--env without a value", workspace.run(place, ["--env", "X", *arguments]), "--env takes KEY=VALUE"),
        ("--env at the end", workspace.run(place, ["--env"]), "--env takes KEY=VALUE"),
        ("an option a0 does not know", workspace.run(place, ["a0", "--new", *arguments[1:]]), "No such option"),
        ("an option is missing", workspace.run(place, ["a0", *arguments[-6:]]), "Missing option"),
        ("no flyte", workspace.run(place, arguments, python=str(bare / "bin/python")), "flyte is not installed"),
    ):
        lines = ended.stderr.strip().splitlines()
        checks.equal(f"{claim}: ends with 1 and one line", (ended.code, len(lines)), (1, 1))
        checks.holds(f"{claim}: the line says what is wrong", wanted in ended.last_line, ended.last_line)


def check_spark(workspace: Workspace) -> None:
    """A real Spark job, in this machine's one core."""
    for claim, around in (("Spark", None), ("Spark inside a running event loop", IN_A_LOOP)):
        place = workspace.place()
        arguments = workspace.arguments(spark_jobs.sum_of_squares, workspace.archive(place), place, n=1000)
        variables = spark_jobs.env.env_vars
        succeeded(claim, workspace.run(place, arguments, variables, around), 3 * sum(n * n for n in range(1000)))


def program(arguments: list[str]) -> None:
    script, folder, *buckets = arguments
    versions = [f"{name} {importlib.metadata.version(name)}" for name in ("flyte", "pyspark", "click")]
    checks.note(", ".join(versions))
    own = Path(folder).resolve()
    shutil.rmtree(own, ignore_errors=True)
    own.mkdir(parents=True)
    of_files = (
        check_success,
        check_failure,
        check_stale_error,
        check_unreadable_error,
        check_variables,
        check_surroundings,
        check_wrong_use,
        check_spark,
    )
    of_buckets = (check_success, check_failure, check_stale_error)
    for base, parts in ((f"file://{own}", of_files), *((bucket, of_buckets) for bucket in buckets)):
        checks.note(f"in {base}")
        workspace = Workspace(Path(script).resolve(), own, base)
        for check in parts:
            with checks.section(f"{check.__name__} in {base}"):
                check(workspace)


if __name__ == "__main__":
    checks.main(program)
