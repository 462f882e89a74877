"""Runs the entrypoint script like Databricks, with Flyte's runtime and tasks of Flyte's SDK.

usage: entrypoint_checks.py <entrypoint script> <work directory> [<s3://bucket>]

With a bucket, the checks that use a store run there too. The variables FLYTE_AWS_* configure access to it.
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

# Maximum run time of the script, in seconds.
SCRIPT_TIMEOUT = 60

# Variables that the script inherits: no variable of Flyte but those for the store.
ENVIRONMENT = (
    "PATH",
    "JAVA_HOME",
    "HOME",
    "FLYTE_AWS_ENDPOINT",
    "FLYTE_AWS_ACCESS_KEY_ID",
    "FLYTE_AWS_SECRET_ACCESS_KEY",
)

# Runs the script inside a running event loop and without a file, like a notebook kernel.
IN_A_LOOP = """
import asyncio, sys

async def cell():
    script, *sys.argv[1:] = sys.argv[1:]
    sys.argv[0] = script
    source = open(script).read()
    exec(compile(source, "<cell>", "exec"), {"__name__": "__main__"})

asyncio.run(cell())
print("the cell has ended", file=sys.__stderr__)
"""

# As above, with a standard error that has no file descriptor.
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
class Result:
    """The result of one run of the script."""

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
        """Returns the content of a file below the output prefix, or None."""
        return flyte_task.read(f"{self.outputs}/{name}")


class Workspace:
    """Runs the script, each time with new directories."""

    def __init__(self, script: Path, folder: Path, base: str) -> None:
        self.script = script
        self.folder = folder
        self.base = base
        self.count = 0

    def place(self) -> Place:
        """Returns new locations for one run."""
        self.count += 1
        place = Place(base=f"{self.base}/{time.time_ns()}-{self.count}", run=f"r{self.count}")
        # On disk, the executor creates this directory; object stores need none.
        flyte_task.write(f"{place.outputs}/.keep", b"")
        return place

    def archive(self, place: Place) -> CodeBundle:
        return flyte_task.archive().uploaded(place.base)

    def arguments(self, task: TaskTemplate, bundle: CodeBundle | None, place: Place, **values: object) -> list[str]:
        """Returns the arguments of the task, and writes its inputs."""
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
    ) -> Result:
        """Runs the script in an unrelated directory. `variables` are passed as `--env` flags."""
        pairs = [part for key, value in (variables or {}).items() for part in ("--env", f"{key}={value}")]
        program = ["-c", around] if around else []
        environment = {key: os.environ[key] for key in ENVIRONMENT if key in os.environ}
        unrelated = self.folder / "unrelated"
        unrelated.mkdir(exist_ok=True)
        started = time.monotonic()
        done = subprocess.run(
            [python, "-B", *program, str(self.script), *pairs, *arguments],
            cwd=unrelated,
            env={**environment, "SET_BY_DRIVER": "driver"},
            capture_output=True,
            text=True,
            timeout=SCRIPT_TIMEOUT,
            check=False,
        )
        seconds = time.monotonic() - started
        return Result(done.returncode, done.stderr, place.outputs, seconds)


def check_success(workspace: Workspace) -> None:
    """Each form of code bundle."""
    for form in ("tgz", "pkl", "no bundle"):
        task, place, variables = plain_tasks.add_later, workspace.place(), {}
        if form == "tgz":
            bundle = workspace.archive(place)
        elif form == "pkl":
            bundle = flyte_task.pickled(task, plain_tasks).uploaded(place.base)
        else:
            # The code is in the image; the variable has its path.
            bundle, variables = None, {"_F_SYS_PATH": str(PROJECT)}
        result = workspace.run(place, workspace.arguments(task, bundle, place, left=19, right=23), variables)
        succeeded(form, result, 42)
    place = workspace.place()
    result = workspace.run(place, workspace.arguments(plain_tasks.nothing, workspace.archive(place), place))
    exits_cleanly("no outputs", result)
    checks.holds("no outputs: outputs.pb is written", result.file("outputs.pb") is not None)


def exits_cleanly(claim: str, result: Result) -> None:
    checks.holds(f"{claim}: exits with 0 ({result.seconds:.1f} s)", result.code == 0, f"code {result.code}\n{result.stderr}")
    checks.holds(f"{claim}: there is no error.pb", result.file("error.pb") is None)


def succeeded(claim: str, result: Result, value: object) -> None:
    exits_cleanly(claim, result)
    checks.equal(f"{claim}: outputs.pb has the value", result.value(), value)


def check_failure(workspace: Workspace) -> None:
    """When user code fails, a0 exits with 0 and the script with 1."""
    for task, last_line, kind in (
        (plain_tasks.boom, "ValueError: boom", "RECOVERABLE"),
        (plain_tasks.boom_for_good, "NonRecoverableError: bad input", "NON_RECOVERABLE"),
    ):
        place, name = workspace.place(), task.name
        result = workspace.run(place, workspace.arguments(task, workspace.archive(place), place))
        checks.equal(f"{name}: the script exits with 1", result.code, 1)
        checks.equal(f"{name}: the last line is the error", result.last_line, last_line)
        checks.holds(f"{name}: the output has the kind", f"({kind})" in result.stderr, result.stderr)
        error = flyte_task.error(result.file("error.pb") or b"")
        checks.equal(f"{name}: error.pb has the kind", error.Kind.Name(error.kind), kind)
        checks.holds(f"{name}: there is no outputs.pb", result.file("outputs.pb") is None)
    place = workspace.place()
    arguments = workspace.arguments(plain_tasks.add, workspace.archive(place), place, left=1, right=2)
    for claim, result, last_line in (
        (
            "a missing task",
            workspace.run(place, [*arguments[:-1], "not_there"]),
            "AttributeError: module 'plain_tasks' has no attribute 'not_there'",
        ),
        (
            "a missing module",
            workspace.run(place, [*arguments[:-3], "no_module", *arguments[-2:]]),
            "ModuleNotFoundError: No module named 'no_module'",
        ),
    ):
        checks.equal(f"{claim}: exits with 1", result.code, 1)
        checks.holds(f"{claim}: error.pb is written", result.file("error.pb") is not None)
        checks.equal(f"{claim}: the last line is the error", result.last_line, last_line)
    # Without the output prefix a0 cannot write error.pb, and raises instead.
    place = workspace.place()
    arguments = workspace.arguments(plain_tasks.add, workspace.archive(place), place, left=1, right=2)
    result = workspace.run(place, ["a0", *arguments[1:3], *arguments[5:]])
    checks.equal(
        "a0 raises: exits with 1 and the reason",
        (result.code, result.last_line),
        (1, "AssertionError: Org is required for now"),
    )


def check_stale_error(workspace: Workspace) -> None:
    """A successful attempt removes the error.pb of an earlier attempt by Databricks."""
    place = workspace.place()
    flyte_task.write(f"{place.outputs}/error.pb", b"stale")
    result = workspace.run(place, workspace.arguments(plain_tasks.add, workspace.archive(place), place, left=1, right=2))
    succeeded("stale error.pb", result, 3)


def check_unreadable_error(workspace: Workspace) -> None:
    """A directory in place of error.pb, which cannot be read or removed. Some stores forbid reading missing files."""
    place = workspace.place()
    flyte_task.write(f"{place.outputs}/error.pb/folder", b"")
    arguments = workspace.arguments(plain_tasks.add, workspace.archive(place), place, left=1, right=2)
    result = workspace.run(place, arguments)
    checks.equal("unreadable error.pb: outputs.pb decides", (result.code, result.value()), (0, 3))
    checks.holds("error.pb that cannot be removed: there is a warning", "cannot remove" in result.stderr, result.stderr)

    for task, reason in (
        (plain_tasks.boom, "IsADirectoryError: "),
        (plain_tasks.leave, "flyte_entrypoint: cannot read "),
    ):
        place = workspace.place()
        flyte_task.write(f"{place.outputs}/error.pb/folder", b"")
        result = workspace.run(place, workspace.arguments(task, workspace.archive(place), place))
        checks.equal(f"{task.name}, neither file is readable: exits with 1", result.code, 1)
        # asyncio can print more lines when the interpreter exits.
        checks.holds(f"{task.name}: the output has the reason", f"\n{reason}" in result.stderr, result.stderr)


def check_variables(workspace: Workspace) -> None:
    """Variables of --env are set before Flyte is imported."""
    for name, wanted in (("MINE", "a=b c"), ("EMPTY", ""), ("SET_BY_DRIVER", "task"), ("HOME", os.environ.get("HOME"))):
        place = workspace.place()
        given = {} if name == "HOME" else {name: wanted}
        result = workspace.run(
            place, workspace.arguments(plain_tasks.variable, workspace.archive(place), place, name=name), given
        )
        succeeded(f"variable {name}", result, wanted)
    # click reads these from variables, so the arguments can lack them.
    place = workspace.place()
    arguments = workspace.arguments(plain_tasks.add, workspace.archive(place), place, left=1, right=2)
    variables = {
        "_U_RUN_BASE": f"{place.base}/{place.run}",
        "_U_ORG_NAME": "local",
        "FLYTE_INTERNAL_EXECUTION_PROJECT": "p",
        "FLYTE_INTERNAL_EXECUTION_DOMAIN": "d",
    }
    succeeded("identity by variables", workspace.run(place, [arguments[0], *arguments[9:]], variables), 3)


def check_references(workspace: Workspace) -> None:
    """A value that looks like a reference of Databricks arrives as it was written."""
    place = workspace.place()
    arguments = workspace.arguments(plain_tasks.variable, workspace.archive(place), place, name="TRICKY")
    encoded = "%7B%7Bjob.id%7D%7D 100%25 %257B ü"
    succeeded("encoded variable", workspace.run(place, arguments, {"TRICKY": encoded}), "{{job.id}} 100% %7B ü")


def check_missing_folder(workspace: Workspace) -> None:
    """Without the folder of the outputs, the user's own error is still the reason."""
    place = workspace.place()
    arguments = workspace.arguments(plain_tasks.boom, workspace.archive(place), place)
    shutil.rmtree(place.outputs.removeprefix("file://"))
    result = workspace.run(place, arguments)
    checks.equal("missing folder: the last line is the user's error", result.last_line, "ValueError: boom")
    error = flyte_task.error(result.file("error.pb") or b"")
    checks.holds("missing folder: error.pb has the user's error", "boom" in error.message, error.message)
    # A file in place of the folder.
    shutil.rmtree(place.outputs.removeprefix("file://"))
    Path(place.outputs.removeprefix("file://")).write_bytes(b"")
    line = workspace.run(place, arguments).last_line
    wanted = "ValueError: boom (error.pb cannot be written: "
    checks.holds("no folder: the last line starts with the user's error", line.startswith(wanted), line)


def check_plugins(workspace: Workspace) -> None:
    """Plugins that are installed need no network; others that cannot be installed are named."""
    place = workspace.place()
    arguments = workspace.arguments(plain_tasks.add, workspace.archive(place), place, left=1, right=2)
    installed = ["--environment", "mine", "--plugin", "flyteplugins-databricks<=99"]
    succeeded("installed plugin", workspace.run(place, [*installed, *arguments]), 3)
    missing = ["--environment", "mine", "--plugin", "flyte-no-such-plugin==0"]
    result = workspace.run(place, [*missing, *arguments])
    checks.equal("missing plugin: exits with 1", result.code, 1)
    wanted = "flyte-no-such-plugin==0 cannot be installed in the environment `mine`"
    checks.holds("missing plugin: the last line names it", wanted in result.last_line, result.last_line)


def check_surroundings(workspace: Workspace) -> None:
    """Differences between a Spark driver and a pod."""
    for claim, around in (("inside a running event loop", IN_A_LOOP), ("without a descriptor", WITHOUT_DESCRIPTOR)):
        place = workspace.place()
        arguments = workspace.arguments(plain_tasks.add_later, workspace.archive(place), place, left=1, right=2)
        result = workspace.run(place, arguments, around=around)
        succeeded(claim, result, 3)
        checks.equal(f"{claim}: the process continues", result.last_line, "the cell has ended")
        place = workspace.place()
        arguments = workspace.arguments(plain_tasks.boom, workspace.archive(place), place)
        result = workspace.run(place, arguments, around=around)
        checks.equal(f"{claim}: a failure exits with 1", (result.code, result.last_line), (1, "ValueError: boom"))

    place = workspace.place()
    result = workspace.run(place, workspace.arguments(plain_tasks.place, workspace.archive(place), place))
    folder, _, file = str(result.value()).partition("|")
    checks.holds("code is unpacked into a directory of the run", Path(file).parent.resolve() == Path(folder), file)
    checks.holds("that directory is removed afterwards", not Path(folder).exists(), folder)
    checks.equal("the working directory of the driver stays empty", sorted((workspace.folder / "unrelated").iterdir()), [])

    place = workspace.place()
    result = workspace.run(place, workspace.arguments(plain_tasks.checkpoint, workspace.archive(place), place))
    succeeded("two quotes are no checkpoint path", result, "none")


def check_abnormal_end(workspace: Workspace) -> None:
    """What aborts the process at the end of the interpreter does not change the status."""
    for task, code, value in (
        (plain_tasks.abort_in_exit_handler, 0, 42),
        (plain_tasks.abort_in_thread_at_shutdown, 0, 42),
        (plain_tasks.fail_and_abort, 1, None),
    ):
        place = workspace.place()
        result = workspace.run(place, workspace.arguments(task, workspace.archive(place), place))
        checks.equal(f"{task.name}: the status is that of the task", (result.code, result.value()), (code, value))
        checks.holds(f"{task.name}: the output is complete", "printed at the end" in result.stderr, result.stderr)


def check_wrong_use(workspace: Workspace) -> None:
    """Wrong arguments and a missing flyte are one line without a traceback."""
    place = workspace.place()
    arguments = workspace.arguments(plain_tasks.add, workspace.archive(place), place, left=1, right=2)
    bare = workspace.folder / "bare"
    venv.create(bare, with_pip=False)
    for claim, result, wanted in (
        ("no arguments", workspace.run(place, []), "expected [--env KEY=VALUE]... and then `a0`"),
        ("another command", workspace.run(place, ["clustered", *arguments[1:]]), "not `clustered`"),
        ("--env without a value", workspace.run(place, ["--env", "X", *arguments]), "--env takes KEY=VALUE"),
        ("--env at the end", workspace.run(place, ["--env"]), "--env takes KEY=VALUE"),
        ("an option a0 does not know", workspace.run(place, ["a0", "--new", *arguments[1:]]), "No such option"),
        ("an option is missing", workspace.run(place, ["a0", *arguments[-6:]]), "Missing option"),
        ("no flyte", workspace.run(place, arguments, python=str(bare / "bin/python")), "flyte is not installed"),
    ):
        lines = result.stderr.strip().splitlines()
        checks.equal(f"{claim}: exits with 1 and one line", (result.code, len(lines)), (1, 1))
        checks.holds(f"{claim}: the line has the reason", wanted in result.last_line, result.last_line)


def check_spark(workspace: Workspace) -> None:
    """A real Spark job on one core."""
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
    file_checks = (
        check_success,
        check_failure,
        check_stale_error,
        check_unreadable_error,
        check_variables,
        check_references,
        check_missing_folder,
        check_plugins,
        check_surroundings,
        check_abnormal_end,
        check_wrong_use,
        check_spark,
    )
    bucket_checks = (check_success, check_failure, check_stale_error)
    for base, parts in ((f"file://{own}", file_checks), *((bucket, bucket_checks) for bucket in buckets)):
        checks.note(f"in {base}")
        workspace = Workspace(Path(script).resolve(), own, base)
        for check in parts:
            with checks.section(f"{check.__name__} in {base}"):
                check(workspace)


if __name__ == "__main__":
    checks.main(program)
