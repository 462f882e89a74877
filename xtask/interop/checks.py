"""Counting assertions with plain output. `cargo xtask interop` reads the lines that start with `pass` or `FAIL`."""

import sys
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path


def _line(mark: str, text: str) -> None:
    print(f"{mark} {text}".replace("\n", "\n     "), flush=True)


def equal(claim: str, found: object, wanted: object) -> None:
    """Passes when both are equal, and shows both when not."""
    holds(claim, found == wanted, f"found {found!r}, wanted {wanted!r}")


def holds(claim: str, truth: bool, otherwise: str = "") -> None:
    """Passes when `truth` is."""
    if truth:
        _line("pass", claim)
    else:
        _line("FAIL", f"{claim}: {otherwise}" if otherwise else claim)


@contextmanager
def section(claim: str) -> Iterator[None]:
    """An exception inside fails the claim, and the program goes on behind the section."""
    try:
        yield
    except Exception as error:  # noqa: BLE001 - whatever it is, it fails the claim
        _line("FAIL", f"{claim} goes to its end: {_told(error)}")


def _told(error: Exception) -> str:
    """What happened and at which of our own lines."""
    here = Path(__file__).parent
    own = [frame for frame in traceback.extract_tb(error.__traceback__) if Path(frame.filename).parent == here]
    where = f"{Path(own[-1].filename).name}:{own[-1].lineno} `{own[-1].line}`" if own else "?"
    # A gRPC error prints a page; its code and its details say all.
    what = f"{error.code().name}: {error.details()}" if hasattr(error, "details") else f"{type(error).__name__}: {error}"
    return f"{what}\nat {where}"


def note(text: str) -> None:
    """Says something that is no claim."""
    print(f"     {text}", flush=True)


def main(program: Callable[[list[str]], None]) -> None:
    """Runs the program with its arguments. A crash is a failure of its own, by the exit code."""
    program(sys.argv[1:])
