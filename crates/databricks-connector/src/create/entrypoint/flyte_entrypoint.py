"""Starts Flyte's runtime on Databricks, and fails when the user's code failed.

The Flyte connector for Databricks uploads this file to the workspace home of the principal that submits the run, and
names it as the `python_file` of a `spark_python_task`. The file name contains a digest of the content: do not edit it.

    flyte_entrypoint.py [--environment NAME] [--plugin REQUIREMENT]... [--env KEY=VALUE]...
                        a0 <arguments of Flyte's runtime>

It sets the environment variables, installs missing plugins without their dependencies, removes the `error.pb` of an
earlier attempt, and calls the `a0` of the installed `flyte`. Keys and values of variables are percent-encoded, because
Databricks replaces references such as `{{job.id}}` in parameters.

When the user's code fails, `a0` writes `error.pb` and exits with 0. This script reads the file, prints it and exits with
an error, so that Databricks marks the run as failed.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import posixpath
import re
import shutil
import subprocess
import sys
import tempfile
import threading
import traceback
import urllib.parse
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from importlib import metadata
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import click

# The path that Flyte's executor writes for a missing checkpoint: two quote characters.
NO_CHECKPOINT = '""'


class Stop(Exception):
    """Fails the run with a one-line reason."""


@dataclass
class Options:
    """The options of this script."""

    # The name of the serverless environment, for messages.
    environment: str = ""
    # Requirements of plugins that depend on PySpark, which the platform has.
    plugins: list[str] = field(default_factory=list)
    variables: dict[str, str] = field(default_factory=dict)


def main(argv: list[str]) -> None:
    """Runs the task that the arguments describe, and ends with its status."""
    reason = None
    try:
        options, arguments = split(argv)
        # Flyte reads some variables at import time, so they are set first.
        os.environ.update(options.variables)
        install(options)
        outside_event_loops(lambda: run(arguments))
    except Stop as stop:
        reason = str(stop)
    # Outside of the `except` block, so that a notebook does not print the handled exception too.
    end(reason)


def end(reason: str | None) -> None:
    """Ends the process with the status of the task, or returns to the program that executes this file.

    A process of this file alone ends immediately, without exit handlers and without the interpreter's shutdown: threads
    of libraries can abort it there, and Databricks would report a failure although the outputs are written.

    Otherwise it returns normally after a success: some Databricks runtimes treat even `sys.exit(0)` as a failure. A
    failure is the text of a `SystemExit`, which Python prints as its last line and Databricks shows as the error.
    """
    if not is_process_of_this_file():
        if reason is not None:
            sys.exit(reason)
        return
    if reason is not None:
        print(reason, file=sys.stderr)
    logging.shutdown()
    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(Exception):
            stream.flush()
    os._exit(0 if reason is None else 1)


def is_process_of_this_file() -> bool:
    """True if Python was started with this file as its program, and not for example by a notebook kernel."""
    own = globals().get("__file__")
    started_with = getattr(sys, "orig_argv", [])[1:]
    program = next((argument for argument in started_with if not argument.startswith("-")), None)
    return bool(own and program) and "-c" not in started_with[:2] and os.path.realpath(program) == os.path.realpath(own)


def split(argv: list[str]) -> tuple[Options, list[str]]:
    """Splits the command line into options and the arguments of Flyte's runtime, without the leading `a0`."""
    options = Options()
    rest = list(argv)
    while rest[:1] in (["--environment"], ["--plugin"], ["--env"]):
        option, value = rest[0], rest[1] if len(rest) > 1 else ""
        if option == "--environment":
            options.environment = value
        elif option == "--plugin":
            options.plugins.append(value)
        else:
            name, equals, value = value.partition("=")
            if not (name and equals):
                raise Stop("flyte_entrypoint: --env takes KEY=VALUE")
            options.variables[urllib.parse.unquote(name)] = urllib.parse.unquote(value)
        rest = rest[2:]
    if rest[:1] != ["a0"]:
        found = f"not `{rest[0]}`" if rest else "and there is nothing"
        raise Stop(f"flyte_entrypoint: expected [--env KEY=VALUE]... and then `a0` with its arguments, {found}")
    return options, without_quotes(rest[1:])


def install(options: Options) -> None:
    """Installs missing plugins into a folder of this process.

    They require PySpark, which on serverless compute belongs to the platform: another one would stop the session. So
    they are installed without dependencies. The environment has their other dependencies.
    """
    require_flyte(options)
    missing = [plugin for plugin in options.plugins if not is_installed(re.split("[^A-Za-z0-9._-]", plugin)[0])]
    if not missing:
        return
    folder = tempfile.mkdtemp(prefix="flyte-plugins-")
    pip = [sys.executable, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--no-input"]
    command = [*pip, "--no-deps", "--target", folder, *missing]
    installed = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False)
    if installed.returncode:
        print(installed.stderr, file=sys.stderr, flush=True)
        errors = [line for line in installed.stderr.splitlines() if line.startswith("ERROR: ")]
        error = first_line("\n".join(errors) or installed.stderr)
        names = " and ".join(missing)
        raise Stop(f"flyte_entrypoint: {names} cannot be installed {place_of(options)}: {error}")
    sys.path.append(folder)


def require_flyte(options: Options) -> None:
    """Stops if this Python has no Flyte."""
    if is_installed("flyte"):
        return
    if options.environment:
        remedy = "add `flyte[connector]`, `aiohttp` and `nest-asyncio` to its dependencies"
    else:
        remedy = "add it to the cluster's image or to the task's `libraries`"
    raise Stop(f"flyte_entrypoint: flyte is not installed {place_of(options)}: {remedy}")


def place_of(options: Options) -> str:
    """Returns where packages are installed."""
    return f"in the environment `{options.environment}`" if options.environment else f"for {sys.executable}"


def is_installed(package: str) -> bool:
    """True if this Python has the package."""
    try:
        metadata.distribution(package)
    except metadata.PackageNotFoundError:
        return False
    return True


def without_quotes(arguments: list[str]) -> list[str]:
    """Replaces the path of a missing checkpoint by an empty one: Flyte would search a checkpoint named `""`."""
    flags = ["", *arguments]
    return [
        "" if argument == NO_CHECKPOINT and flag in ("--prev-checkpoint", "-p") else argument
        for flag, argument in zip(flags, arguments)
    ]


def outside_event_loops(work: Callable[[], None]) -> None:
    """Calls `work`, in a separate thread if this thread runs an event loop, as in a notebook kernel."""
    if not has_event_loop():
        work()
        return
    raised: list[BaseException] = []

    def catching() -> None:
        try:
            work()
        except BaseException as error:  # raised again below, in the waiting thread
            raised.append(error)

    thread = threading.Thread(target=catching, name="flyte-a0", daemon=True)
    thread.start()
    thread.join()
    if raised:
        raise raised[0]


def has_event_loop() -> bool:
    """True if this thread runs an event loop."""
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return False
    return True


def run(arguments: list[str]) -> None:
    """Removes the old error file, runs Flyte's runtime and reads the new error file."""
    runtime = installed_runtime()
    context = parsed(runtime, arguments)
    outputs = context.params["outputs_path"]
    make_folder(outputs)
    remove(posixpath.join(outputs, "error.pb"))
    let_faulthandler_be()
    with working_folder(context.params), import_paths(context.params), arguments_of_process(arguments), context:
        raised = invoked(runtime, context)
    # The runtime can write the file and also raise. The file contains the reason.
    stop_for_error_file(outputs, raised)
    if raised:
        lost = unwritten_error(raised)
        if lost is not None:
            print(f"\nThe task failed:\n{lost.message}", file=sys.stderr, flush=True)
        traceback.print_exception(type(raised), raised, raised.__traceback__)
        reason = summary(type(raised).__name__, str(raised))
        if lost is not None:
            reason = f"{summary(lost.code or 'Unknown', lost.message)} (error.pb cannot be written: {reason})"
        raise Stop(reason)


def unwritten_error(raised: BaseException) -> Any:
    """Returns the error of the task if the runtime raised while it wrote that to the error file, else None."""
    frames = (frame for frame, _line in traceback.walk_tb(raised.__traceback__))
    return next((frame.f_locals.get("err") for frame in frames if frame.f_code.co_name == "upload_error"), None)


def invoked(runtime: click.Command, context: click.Context) -> BaseException | None:
    """Calls the runtime and returns what it raised, or None after a success."""
    try:
        runtime.invoke(context)
    except SystemExit as ended:
        return ended if ended.code else None
    except Exception as error:
        return error
    return None


def installed_runtime() -> click.Command:
    """Returns the command of the console script `a0` of the installed flyte."""
    flyte = metadata.distribution("flyte")
    for script in flyte.entry_points:
        if script.group == "console_scripts" and script.name == "a0":
            return script.load()
    raise Stop(f"flyte_entrypoint: the installed flyte {flyte.version} has no `a0`: flyte 2 is required")


def let_faulthandler_be() -> None:
    """Prevents Flyte from registering a thread dump when stderr has no file, which would raise."""
    try:
        sys.stderr.fileno()
    except (AttributeError, OSError):
        import faulthandler

        faulthandler.register = lambda *_, **__: None


def parsed(runtime: click.Command, arguments: list[str]) -> click.Context:
    """Parses the arguments with the runtime's own command line, including values from variables."""
    import click

    try:
        return runtime.make_context("a0", list(arguments))
    except click.ClickException as wrong:
        raise Stop(f"flyte_entrypoint: a0 rejects these arguments: {wrong.format_message()}") from None


@contextlib.contextmanager
def working_folder(params: dict[str, Any]) -> Iterator[None]:
    """Changes to a new working folder if the code is unpacked into the current one.

    In a pod only the task uses the current folder. Here other runs of the cluster can share it, or it can be the folder
    of this file.
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
    """Adds the folders of `_F_SYS_PATH` to the import path. The runtime adds them only when it unpacks code."""
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
    """Sets `sys.argv` as in a pod."""
    before = sys.argv
    sys.argv = ["a0", *arguments]
    try:
        yield
    finally:
        sys.argv = before


def filesystem(path: str) -> Any:
    """Returns Flyte's file system for the path, with Flyte's settings."""
    from flyte import storage

    return storage.get_underlying_filesystem(path=path)


def make_folder(path: str) -> None:
    """Creates a local folder, so that the reason of a failure can be written to it. Object stores need none."""
    if path.startswith(("file://", "/")):
        with contextlib.suppress(OSError):
            os.makedirs(path.removeprefix("file://"), exist_ok=True)


def remove(path: str) -> None:
    """Removes a file if it exists."""
    try:
        filesystem(path).rm_file(path)
    except FileNotFoundError:
        pass
    except Exception as error:  # the task can still succeed
        warn(f"cannot remove {path} of an earlier attempt: {first_line(str(error))}")


def read(path: str) -> bytes | None:
    """Returns the content of a file, or None if it does not exist."""
    try:
        return filesystem(path).cat_file(path)
    except FileNotFoundError:
        return None


def stop_for_error_file(outputs: str, raised: BaseException | None) -> None:
    """Prints the error file, if there is one, and stops with its summary."""
    path = posixpath.join(outputs, "error.pb")
    try:
        content = read(path)
    except Exception as unreadable:  # a store can reject reads of missing files
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
    """Returns the last line of a traceback that has the code, else the code and the first line of the message."""
    last_of_traceback = (line.strip() for line in message.splitlines() if line.startswith(f"{code}: "))
    return next(last_of_traceback, f"{code}: {first_line(message)}")


def has_outputs(outputs: str) -> bool:
    """True if the runtime wrote its outputs, which it does only after a success."""
    try:
        return read(posixpath.join(outputs, "outputs.pb")) is not None
    except Exception:
        return False


def first_line(text: str) -> str:
    """Returns the first line that is not blank."""
    return next((line.strip() for line in text.splitlines() if line.strip()), "(no message)")


def warn(text: str) -> None:
    """Prints a warning."""
    print(f"flyte_entrypoint: warning: {text}", file=sys.stderr, flush=True)


if __name__ == "__main__":
    main(sys.argv[1:])
