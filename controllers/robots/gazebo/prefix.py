"""Where Gazebo 11 lies in the user's cache, and the variables that its server needs there.

Debian's packages are unpacked, not installed: nothing needs root, nothing outside the cache changes, and no other
program sees them. The loader, the C and the C++ library are the host's.
"""

from __future__ import annotations

import hashlib
import os
from dataclasses import dataclass
from pathlib import Path

from data.errors import UserError

HERE = Path(__file__).resolve().parent
INSTALL = "robot-rl gazebo install"
_LIBRARIES = "usr/lib/x86_64-linux-gnu"


def packages(name: str) -> list[str]:
    """Returns the Debian packages in a list of ours, `packages` or `headers`."""
    return (HERE / f"{name}.txt").read_text(encoding="utf-8").split()


@dataclass(frozen=True)
class Prefix:
    """One unpacked Gazebo."""

    root: Path

    @property
    def complete(self) -> bool:
        """Tells whether all of it is there."""
        return (self.root / "complete").is_file()

    @property
    def server(self) -> Path:
        """The server's program."""
        return self.root / "usr/bin/gzserver"

    @property
    def headers(self) -> Path:
        """Folder with the headers that our plugin is built with."""
        return self.root / "headers"

    def variables(self, plugins: Path, port: int, home: Path) -> dict[str, str]:
        """Returns all variables of a server: it inherits none, least of all those of ROS.

        plugins: folder of our plugin; port: of its own master on loopback; home: a folder that it may write to.
        """
        root, libraries = self.root, self.root / _LIBRARIES
        search = (
            libraries,
            root / "lib/x86_64-linux-gnu",
            *(libraries / name for name in ("blas", "lapack", "pulseaudio")),
            root / "usr/lib",
        )
        return {
            "PATH": "/usr/bin:/bin",
            "HOME": str(home),
            "LANG": "C.UTF-8",
            "LD_LIBRARY_PATH": ":".join(map(str, search)),
            "GAZEBO_RESOURCE_PATH": str(root / "usr/share/gazebo-11"),
            "GAZEBO_PLUGIN_PATH": f"{plugins}:{libraries / 'gazebo-11/plugins'}",
            "GAZEBO_MODEL_DATABASE_URI": "",  # else it asks the network for models
            "GAZEBO_MASTER_URI": f"http://127.0.0.1:{port}",
            "GAZEBO_IP": "127.0.0.1",
            "IGN_IP": "127.0.0.1",
            "IGN_PARTITION": home.name,
            "SDF_PATH": str(root / "usr/share/sdformat9/1.7"),
            "OGRE_RESOURCE_PATH": str(libraries / "OGRE-1.9.0"),
            "ALSOFT_DRIVERS": "null",
        }


def cache_folder() -> Path:
    """Returns the folder of all that belongs to Gazebo."""
    base = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(base) / "robot-rl" / "gazebo"


def prefix() -> Prefix:
    """Returns where Gazebo with our lists of packages belongs, whether or not it is there."""
    lists = "\n".join(packages("packages") + packages("headers"))
    return Prefix(cache_folder() / hashlib.sha256(lists.encode()).hexdigest()[:12])


def installed() -> Prefix:
    """Returns the Gazebo that is there. Raises UserError with the command that fetches it."""
    found = prefix()
    if not found.complete:
        raise UserError(
            f"expected Gazebo 11 in {found.root}, which is not there: `{INSTALL}` fetches it from the Debian mirror "
            "(229 MB, no root needed), see docs/gazebo.md"
        )
    return found
