"""Starts Flyte's runtime on Databricks, and fails when the user's code failed.

The Flyte connector for Databricks keeps this file in the workspace, in the home of whoever submits the run, and
names it as the `python_file` of a `spark_python_task`. Its name tells its content: do not edit it there.

    flyte_entrypoint.py [--env KEY=VALUE]... a0 <arguments of Flyte's runtime>

It sets the variables, removes an `error.pb` that an earlier attempt left behind, and calls the `a0` of the `flyte`
that is installed here. That one reports a failure of the user's code by writing `error.pb` and ends well; this one
reads the file, prints it, and ends with an error, so that Databricks calls the run failed.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import posixpath
import shutil
import sys
import tempfile
import threading
import traceback
from collections.abc import Callable, Iterator
from importlib import metadata
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import click

# What Flyte's executor writes for the path of a checkpoint that there is none of: two quote characters.
NO_CHECKPOINT = '""'


class Stop(Exception):
    """Ends the run as failed, with one line that says why."""


def main(argv: list[str]) -> None:
    """Runs the task that the arguments tell of.

    Returns without a word after a success: Databricks takes even `sys.exit(0)` for a failure in some runtimes. A
    failure is the text of a `SystemExit`, which Python prints as its last line and Databricks shows as the error.
    """
    reason = None
    try:
        variables, arguments = split(argv)
        # Flyte reads some of them while it is imported, so they come first.
        os.environ.update(variables)
        outside_event_loops(lambda: run(arguments))
    except Stop as stop:
        reason = str(stop)
    # Out here nothing is being handled: a notebook would print that along.
    if reason is not None:
        sys.exit(reason)


def split(argv: list[str]) -> tuple[dict[str, str], list[str]]:
    """The variables, and the arguments of Flyte's runtime without their first, which is its name."""
    variables: dict[str, str] = {}
    rest = list(argv)
    while rest[:1] == ["--env"]:
        name, equals, value = rest[1].partition("=") if len(rest) > 1 else ("", "", "")
        if not (name and equals):
            raise Stop("flyte_entrypoint: --env takes KEY=VALUE")
        variables[name] = value
        rest = rest[2:]
    if rest[:1] != ["a0"]:
        found = f"not `{rest[0]}`" if rest else "and there is nothing"
        raise Stop(f"flyte_entrypoint: expected [--env KEY=VALUE]... and then `a0` with its arguments, {found}")
    return variables, without_quotes(rest[1:])


def without_quotes(arguments: list[str]) -> list[str]:
    """The same arguments, but for no checkpoint an empty path: Flyte would look for one of two quote characters."""
    flags = ["", *arguments]
    return [
        "" if argument == NO_CHECKPOINT and flag in ("--prev-checkpoint", "-p") else argument
        for flag, argument in zip(flags, arguments)
    ]


def outside_event_loops(work: Callable[[], None]) -> None:
    """Does the work in a thread of its own when an event loop runs here already, as it does in a notebook's kernel."""
    if not has_event_loop():
        work()
        return
    raised: list[BaseException] = []

    def catching() -> None:
        try:
            work()
        except BaseException as error:  # it is raised again below, in the thread that waits
            raised.append(error)

    thread = threading.Thread(target=catching, name="flyte-a0", daemon=True)
    thread.start()
    thread.join()
    if raised:
        raise raised[0]


def has_event_loop() -> bool:
    """Whether this thread runs an event loop."""
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return False
    return True


def run(arguments: list[str]) -> None:
    """Runs Flyte's runtime between the removal of the old error file and the reading of the new one."""
    runtime = installed_runtime()
    context = parsed(runtime, arguments)
    outputs = context.params["outputs_path"]
    remove(posixpath.join(outputs, "error.pb"))
    let_faulthandler_be()
    with working_folder(context.params), import_paths(context.params), arguments_of_process(arguments), context:
        raised = invoked(runtime, context)
    # The runtime can write the file and raise as well; the file has the reason.
    stop_for_error_file(outputs, raised)
    if raised:
        traceback.print_exception(type(raised), raised, raised.__traceback__)
        raise Stop(summary(type(raised).__name__, str(raised)))


def invoked(runtime: click.Command, context: click.Context) -> BaseException | None:
    """Calls the runtime, and returns what it raised but for a good end."""
    try:
        runtime.invoke(context)
    except SystemExit as ended:
        return ended if ended.code else None
    except Exception as error:  # whatever it is
        return error
    return None


def installed_runtime() -> click.Command:
    """The command behind the console script `a0` of the installed flyte."""
    try:
        flyte = metadata.distribution("flyte")
    except metadata.PackageNotFoundError:
        raise Stop(
            f"flyte_entrypoint: flyte is not installed for {sys.executable}: add it to the cluster's image, to the "
            "task's `libraries`, or to the dependencies of its environment"
        ) from None
    for script in flyte.entry_points:
        if script.group == "console_scripts" and script.name == "a0":
            return script.load()
    raise Stop(f"flyte_entrypoint: flyte {flyte.version}, which is installed here, has no `a0`: it takes flyte 2")


def let_faulthandler_be() -> None:
    """Keeps Flyte from registering a dump of its threads where that would raise: without a file behind stderr."""
    try:
        sys.stderr.fileno()
    except (AttributeError, OSError):
        import faulthandler

        faulthandler.register = lambda *_, **__: None


def parsed(runtime: click.Command, arguments: list[str]) -> click.Context:
    """The arguments as the runtime's own command line reads them, with what it takes from variables."""
    import click

    try:
        return runtime.make_context("a0", list(arguments))
    except click.ClickException as wrong:
        raise Stop(f"flyte_entrypoint: a0 does not take these arguments: {wrong.format_message()}") from None


@contextlib.contextmanager
def working_folder(params: dict[str, Any]) -> Iterator[None]:
    """A fresh folder to work in, when the code is to be unpacked into the current one.

    In a pod the current folder is the task's alone. Here it can be shared with other runs of the same cluster, or be
    the folder of this file.
    """
    unpacked = params.get("tgz") or params.get("pkl")
    if not unpacked or os.path.isabs(params.get("dest") or "."):
        yield
        return
    before = os.getcwd()
    folder = tempfile.mkdtemp(prefix="flyte-")
    os.chdir(folder)
    try:
        yield
    finally:
        os.chdir(before)
        shutil.rmtree(folder, ignore_errors=True)


@contextlib.contextmanager
def import_paths(params: dict[str, Any]) -> Iterator[None]:
    """The folders of `_F_SYS_PATH` on the import path, which the runtime itself adds only when it unpacks code."""
    before = list(sys.path)
    if not (params.get("tgz") or params.get("pkl")):
        folders = os.environ.get("_F_SYS_PATH", "").split(":")
        sys.path[:0] = [folder for folder in folders if folder and folder not in before]
    try:
        yield
    finally:
        sys.path[:] = before


@contextlib.contextmanager
def arguments_of_process(arguments: list[str]) -> Iterator[None]:
    """`sys.argv` as the task finds it in a pod."""
    before = sys.argv
    sys.argv = ["a0", *arguments]
    try:
        yield
    finally:
        sys.argv = before


def filesystem(path: str) -> Any:
    """Flyte's own way to the store that holds the path, with Flyte's settings for it."""
    from flyte import storage

    return storage.get_underlying_filesystem(path=path)


def remove(path: str) -> None:
    """Removes a file that may not be there."""
    try:
        filesystem(path).rm_file(path)
    except FileNotFoundError:
        pass
    except Exception as error:  # the task may run well without
        warn(f"cannot remove {path}, in case an earlier attempt left it: {first_line(str(error))}")


def read(path: str) -> bytes | None:
    """The content of a file; none when there is no such file."""
    try:
        return filesystem(path).cat_file(path)
    except FileNotFoundError:
        return None


def stop_for_error_file(outputs: str, raised: BaseException | None) -> None:
    """Prints the error file, when there is one, and stops with its summary."""
    path = posixpath.join(outputs, "error.pb")
    try:
        content = read(path)
    except Exception as unreadable:  # a store may refuse to say that a file is missing
        if raised or has_outputs(outputs):
            return
        raise Stop(f"flyte_entrypoint: cannot read {path}: {first_line(str(unreadable))}") from None
    if content is None:
        return
    from flyteidl2.core.execution_pb2 import ErrorDocument

    error = ErrorDocument.FromString(content).error
    kind = "NON_RECOVERABLE" if error.kind == error.NON_RECOVERABLE else "RECOVERABLE"
    print(f"\nThe task failed ({kind}) and wrote {path}:\n{error.message}", file=sys.stderr, flush=True)
    raise Stop(summary(error.code or "Unknown", error.message))


def summary(code: str, message: str) -> str:
    """One line: the code and the first line of the message, or the line of a traceback in it that says both."""
    last_of_traceback = (line.strip() for line in message.splitlines() if line.startswith(f"{code}: "))
    return next(last_of_traceback, f"{code}: {first_line(message)}")


def has_outputs(outputs: str) -> bool:
    """Whether the runtime wrote what it writes after a success only."""
    try:
        return read(posixpath.join(outputs, "outputs.pb")) is not None
    except Exception:  # then nothing is known
        return False


def first_line(text: str) -> str:
    """The first line that is not empty."""
    return next((line.strip() for line in text.splitlines() if line.strip()), "(no message)")


def warn(text: str) -> None:
    """Says something that ends nothing."""
    print(f"flyte_entrypoint: warning: {text}", file=sys.stderr, flush=True)


if __name__ == "__main__":
    main(sys.argv[1:])
