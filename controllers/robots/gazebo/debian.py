"""Fetches Debian packages and unpacks them into a folder, without root: signatures checked by the host's own apt.

apt gets a configuration of its own (lists, cache, an empty list of installed packages), so that it neither reads nor
changes what is installed on the host. Of the host's settings it takes the proxy.
"""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Callable, Sequence
from pathlib import Path

from data.errors import UserError

SUITE = "bullseye"
"""The last release of Debian with Gazebo Classic."""
KEYRING = Path("/usr/share/keyrings/debian-archive-keyring.gpg")
_SILENCE_S = 1800.0

Say = Callable[[str], None]


def host_mirror() -> str:
    """Returns the Debian mirror of this host's own apt sources. Raises UserError where it has none."""
    apt = shutil.which("apt-get")
    command = [apt or "apt-get", "indextargets", "--format", "$(REPO_URI)"]
    told = subprocess.run(command, capture_output=True, text=True, check=False).stdout.split() if apt else []
    mirrors = [uri.rstrip("/") for uri in told if uri.rstrip("/").endswith("/debian")]
    if not mirrors:
        raise UserError(
            "expected a Debian mirror among this host's apt sources, found none: give one that has Debian 11, "
            "mirror=http://<host>/debian (Debian's site lists them)"
        )
    return mirrors[0]


class Mirror:
    """A Debian mirror, seen through an apt of our own in a folder."""

    def __init__(self, folder: Path, uri: str) -> None:
        """Raises UserError where apt, its keys, or the right kind of machine is missing."""
        _require_tools()
        self._folder = folder
        self.uri = uri
        for name in ("lists/partial", "cache/archives/partial", "debs"):
            (folder / name).mkdir(parents=True, exist_ok=True)
        (folder / "status").touch()
        (folder / "sources.list").write_text(f"deb [signed-by={KEYRING}] {uri} {SUITE} main\n", encoding="utf-8")
        (folder / "apt.conf").write_text(self._settings(), encoding="utf-8")

    def _settings(self) -> str:
        own = {
            "Dir::State": self._folder,
            "Dir::State::lists": self._folder / "lists",
            "Dir::State::status": self._folder / "status",
            "Dir::Cache": self._folder / "cache",
            "Dir::Etc::sourcelist": self._folder / "sources.list",
            "Dir::Etc::sourceparts": "/dev/null",
            "Dir::Etc::parts": "/dev/null",  # the host's hooks act on the host
            "Dir::Etc::main": "/dev/null",
            "APT::Sandbox::User": "root",  # as root, apt would give up rights that it needs to write here
            "APT::Update::Error-Mode": "any",
            "Acquire::Retries": "2",
            **{f"Acquire::{kind}::Proxy": proxy for kind, proxy in _proxies().items()},
        }
        return "".join(f'{name} "{value}";\n' for name, value in own.items())

    def refresh(self) -> None:
        """Fetches the list of packages. Raises UserError if the mirror is not reachable or not to be trusted."""
        self._apt("update", "-q")

    def unpack(self, names: Sequence[str], target: Path) -> int:
        """Fetches packages and unpacks them into `target`; returns the bytes fetched. Raises UserError."""
        debs = self._folder / "debs"
        self._apt("download", "-q", *names, folder=debs)
        target.mkdir(parents=True, exist_ok=True)
        size = 0
        for deb in sorted(debs.glob("*.deb")):
            size += deb.stat().st_size
            done = subprocess.run(
                ["dpkg-deb", "-x", str(deb), str(target)], capture_output=True, text=True, check=False
            )
            if done.returncode != 0:
                raise UserError(f"cannot unpack {deb.name} into {target}: {_last(done.stderr)}")
            deb.unlink()
        return size

    def _apt(self, *words: str, folder: Path | None = None) -> None:
        environment = {**os.environ, "APT_CONFIG": str(self._folder / "apt.conf"), "LC_ALL": "C"}
        try:
            done = subprocess.run(
                ["apt-get", *words], cwd=folder or self._folder, env=environment, capture_output=True, text=True,
                check=False, timeout=_SILENCE_S,
            )  # fmt: skip
        except subprocess.TimeoutExpired as error:
            raise UserError(f"{self.uri} took more than {_SILENCE_S:g} s: try another one, mirror=...") from error
        if done.returncode != 0:
            raise UserError(
                f"cannot fetch from {self.uri} ({SUITE}): {_last(done.stderr)}; check the network or a proxy, or name "
                "another Debian mirror, mirror=http://..."
            )


def _require_tools() -> None:
    """Raises UserError for the first thing that is missing, with the cure."""
    for program, package in {"apt-get": "apt", "dpkg-deb": "dpkg"}.items():
        if shutil.which(program) is None:
            raise UserError(f"{program} is missing: Gazebo 11 comes from Debian packages, install {package}")
    machine = os.uname().machine
    if machine != "x86_64":
        raise UserError(f"expected a PC with an x86_64 processor for Debian's Gazebo 11, got {machine}")
    if not KEYRING.is_file():
        raise UserError(f"Debian's keys are missing ({KEYRING}): apt-get install debian-archive-keyring")


def _proxies() -> dict[str, str]:
    """What the host's apt goes through, by protocol; nothing where it goes directly."""
    found = {}
    for kind in ("http", "https"):
        command = ["apt-config", "shell", "proxy", f"Acquire::{kind}::Proxy"]
        told = subprocess.run(command, capture_output=True, text=True, check=False).stdout.strip()
        if told.startswith("proxy='"):
            found[kind] = told[len("proxy='") :].rstrip("'")
    return found


def _last(text: str) -> str:
    """The line that says why: the last error of apt, else the last line."""
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    errors = [line for line in lines if line.startswith(("E:", "W: Failed", "Err"))]
    return (errors or lines or ["it said nothing"])[0 if errors else -1]
