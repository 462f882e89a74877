"""Assertions that print a line each. `cargo xtask interop` counts the lines that start with `pass` or `FAIL`."""

import sys
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path


def _line(mark: str, text: str) -> None:
    print(f"{mark} {text}".replace("\n", "\n     "), flush=True)


def equal(claim: str, found: object, expected: object) -> None:
    """Passes if both are equal; prints both if not."""
    holds(claim, found == expected, f"found {found!r}, expected {expected!r}")


def holds(claim: str, condition: bool, failure: str = "") -> None:
    """Passes if `condition` is true; prints `failure` if not."""
    if condition:
        _line("pass", claim)
    else:
        _line("FAIL", f"{claim}: {failure}" if failure else claim)


@contextmanager
def section(claim: str) -> Iterator[None]:
    """Turns an exception inside the block into a failed check, and continues after the block."""
    try:
        yield
    except Exception as error:  # noqa: BLE001 - any exception is a failed check
        _line("FAIL", f"{claim} completes: {_describe(error)}")


def _describe(error: Exception) -> str:
    """Returns the error and the last line of this directory in its traceback."""
    here = Path(__file__).parent
    own = [frame for frame in traceback.extract_tb(error.__traceback__) if Path(frame.filename).parent == here]
    where = f"{Path(own[-1].filename).name}:{own[-1].lineno} `{own[-1].line}`" if own else "?"
    # The text of a gRPC error is a page long; code and details suffice.
    what = f"{error.code().name}: {error.details()}" if hasattr(error, "details") else f"{type(error).__name__}: {error}"
    return f"{what}\nat {where}"


def note(text: str) -> None:
    """Prints a line that is not a check."""
    print(f"     {text}", flush=True)


def main(program: Callable[[list[str]], None]) -> None:
    """Runs `program` with the command line arguments. A crash shows in the exit code."""
    program(sys.argv[1:])
