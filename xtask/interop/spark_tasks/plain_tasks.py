"""Tasks without Spark, to test the entrypoint."""

import asyncio
import atexit
import os
import sys
import threading

import flyte
import flyte.errors

env = flyte.TaskEnvironment(name="plain_tasks", image=flyte.Image.from_base("example.test/plain:1"))


@env.task
def add(left: int, right: int) -> int:
    return left + right


@env.task
async def add_later(left: int, right: int) -> int:
    await asyncio.sleep(0)
    return left + right


@env.task
def nothing() -> None:
    """Has no outputs."""


@env.task
def boom() -> int:
    raise ValueError("boom")


@env.task
def boom_for_good() -> int:
    raise flyte.errors.NonRecoverableError("bad input\nsecond line")


@env.task
def variable(name: str) -> str:
    return os.environ.get(name, "not set")


@env.task
def place() -> str:
    """Returns the working directory and the file of this module."""
    return f"{os.getcwd()}|{__file__}"


@env.task
def checkpoint() -> str:
    """Returns whether there is a checkpoint of an earlier attempt."""
    return "some" if flyte.ctx().checkpoint.prev_exists() else "none"


@env.task
async def leave() -> int:
    """Exits the process."""
    sys.exit(0)


@env.task
def abort_in_exit_handler() -> int:
    atexit.register(os.abort)
    print("printed at the end", file=sys.stderr)
    return 42


@env.task
def abort_in_thread_at_shutdown() -> int:
    """Starts a thread that aborts the process when the interpreter shuts down."""

    def abort() -> None:
        threading.main_thread().join()
        os.abort()

    threading.Thread(target=abort).start()
    print("printed at the end", file=sys.stderr)
    return 42


@env.task
def fail_and_abort() -> int:
    atexit.register(os.abort)
    print("printed at the end", file=sys.stderr)
    raise ValueError("boom")
