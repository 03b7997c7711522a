"""Code of other people by name: plug-ins of installed packages, and modules in the working folder."""

from __future__ import annotations

import sys
from importlib.metadata import EntryPoint
from pathlib import Path
from typing import Any

from data.errors import UserError


def load_plugin(point: EntryPoint) -> Any:
    """Returns what an entry point names. Raises UserError, naming plug-in and package, where it cannot be imported."""
    try:
        return point.load()
    except Exception as error:  # foreign code may fail in any way; whoever lists plug-ins shall name it and go on
        package = point.dist.name if point.dist is not None else "unknown"
        reason = " ".join(str(error).split())
        told = f"plug-in {point.name!r} ({point.value} of package {package}) cannot be imported"
        raise UserError(f"{told}: {type(error).__name__}: {reason}; mend or uninstall that package") from error


def look_in_working_folder() -> None:
    """Lets modules of the working folder be imported: console scripts do not look there by themselves."""
    if "" not in sys.path and str(Path.cwd()) not in sys.path:
        sys.path.insert(0, str(Path.cwd()))
