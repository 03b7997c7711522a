"""The lock-step protocol on both sides of its text, and plain words where Gazebo or what it needs is missing."""

from __future__ import annotations

import re
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from controllers.description.fr3 import fr3
from controllers.description.scene import Scene
from controllers.description.tool import square_peg_tool
from controllers.robots.gazebo import debian, modern, plugin, prefix, protocol
from controllers.robots.gazebo import install as installing
from controllers.robots.gazebo.protocol import HEAD, NotOurProtocol, Operation, as_state, decode_head, encode
from controllers.robots.gazebo.server import clear_leftovers, own
from controllers.robots.gazebo_arm import GazeboArm
from data.errors import UserError

NEEDS_COMPILER = pytest.mark.skipif(shutil.which("g++") is None, reason="no g++ here")
SOURCE = (Path(protocol.__file__).parent / "lockstep_socket.hh").read_text(encoding="utf-8")
finite = st.floats(allow_nan=False, allow_infinity=False)


@given(st.sampled_from(Operation), st.integers(0, 2**32 - 1), st.lists(finite, max_size=20), st.text(max_size=20))
def test_a_request_is_its_head_its_numbers_and_its_name(
    operation: Operation, argument: int, numbers: list[float], name: str
) -> None:
    data = encode(operation, argument, numbers, name)
    magic, said, told, size = HEAD.unpack(data[: HEAD.size])
    assert (magic, said, told, size) == (protocol.MAGIC, operation, argument, len(data) - 16)
    np.testing.assert_array_equal(np.frombuffer(data[16 : 16 + 8 * len(numbers)], "<f8"), numbers)
    assert data[16 + 8 * len(numbers) :].decode() == name


@given(st.binary(min_size=16, max_size=16))
def test_whatever_is_no_head_is_refused(data: bytes) -> None:
    if data[:4] == b"RRGZ":
        return
    with pytest.raises(NotOurProtocol, match="expected a head with magic 0x5a475252"):
        decode_head(data)


def test_a_head_says_what_was_answered_and_whether_it_was_refused() -> None:
    assert decode_head(HEAD.pack(protocol.MAGIC, 2, 1, 10)) == (2, True, 10)
    with pytest.raises(NotOurProtocol):
        decode_head(HEAD.pack(protocol.MAGIC, 2, 0, protocol.MAX_BYTES + 1))
    with pytest.raises(ValueError, match="a request holds up to 4096 bytes, got 4104"):
        encode(Operation.STEP, 1, np.zeros(513))


def test_a_state_is_read_by_its_fields_and_by_no_other_size() -> None:
    body = np.arange(37, dtype="<f8").tobytes()
    state = as_state(body, 7)[0]
    assert state["time_s"] == 0.0
    np.testing.assert_array_equal(state["q_rad"], np.arange(1, 8))
    np.testing.assert_array_equal(state["tau_nm"], np.arange(15, 22))
    np.testing.assert_array_equal(state["reading"], np.arange(22, 28))
    np.testing.assert_array_equal(state["axes_flange"].ravel(), np.arange(28, 37))
    with pytest.raises(NotOurProtocol, match="expected a state of 296 bytes for 7 joints, got 8"):
        as_state(bytes(8), 7)


def test_the_plugin_has_the_same_numbers() -> None:
    said = {name: int(value) for name, value in re.findall(r"\b([A-Z]+) = (\d)", SOURCE)}
    assert {name: int(value) for name, value in Operation.__members__.items()} == {
        name: value for name, value in said.items() if name not in ("OK", "REFUSED")
    }
    assert f"kMagic = 0x{protocol.MAGIC:X}" in SOURCE
    assert f"kVersion = {protocol.VERSION};" in SOURCE and f"kMaxBytes = {protocol.MAX_BYTES};" in SOURCE


@pytest.fixture
def empty_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    return tmp_path


def test_without_gazebo_the_arm_says_how_to_get_it(empty_cache: Path) -> None:
    with pytest.raises(UserError, match="expected Gazebo 11 in .*, which is not there: `robot-rl gazebo install`"):
        GazeboArm(fr3(), Scene(tool=square_peg_tool()))


def test_without_a_compiler_nothing_is_fetched(empty_cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(empty_cache))
    with pytest.raises(UserError, match=r"no C\+\+ compiler: apt-get install g\+\+"):
        installing.install(None, print)
    assert not (empty_cache / "robot-rl").exists()


def test_without_apt_its_package_is_named(empty_cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(empty_cache))
    with pytest.raises(UserError, match="apt-get is missing: Gazebo 11 comes from Debian packages, install apt"):
        debian.Mirror(empty_cache, "http://127.0.0.1:9/debian")
    with pytest.raises(UserError, match="found none: give one that has Debian 11, mirror=http"):
        debian.host_mirror()


@NEEDS_COMPILER
@pytest.mark.skipif(not debian.KEYRING.is_file(), reason="no Debian keys here")
def test_a_mirror_that_cannot_be_reached_is_named_with_the_cure(empty_cache: Path) -> None:
    address = "http://127.0.0.1:9/debian"
    with pytest.raises(UserError) as told:
        installing.install(address, lambda step: None)
    assert str(told.value).startswith(f"cannot fetch from {address} (bullseye): ")
    assert "name another Debian mirror, mirror=http://..." in str(told.value)
    assert not prefix.prefix().complete
    assert not list(prefix.cache_folder().glob("fetching-*")), "nothing is left behind"


@NEEDS_COMPILER
def test_a_source_that_does_not_compile_says_why(empty_cache: Path) -> None:
    bare = prefix.Prefix(empty_cache / "bare")
    with pytest.raises(UserError, match=r"cannot build lockstep_plugin.cc with .*: .*error: gazebo/common/Console.hh"):
        plugin.build(bare)
    assert plugin.built(bare) is None and not list(bare.root.glob("build-*"))


def test_the_modern_gazebo_is_a_name_that_says_what_it_needs(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(UserError, match="apt-get install ros-<distribution>-ros-gz.*use robot=gazebo"):
        modern.refuse_gz()
    (tmp_path / "gz").write_text("#!/bin/sh\n")
    (tmp_path / "gz").chmod(0o755)
    with pytest.raises(UserError, match="the modern Gazebo is here, but this version has no plugin for it yet"):
        modern.refuse_gz()


def test_the_server_gets_no_variable_of_ours_and_keeps_to_this_machine(tmp_path: Path) -> None:
    variables = prefix.Prefix(tmp_path).variables(tmp_path / "plugins", 4711, tmp_path / "home")
    assert variables["GAZEBO_MASTER_URI"] == "http://127.0.0.1:4711" and variables["GAZEBO_IP"] == "127.0.0.1"
    assert variables["GAZEBO_MODEL_DATABASE_URI"] == ""
    assert all(part.startswith(str(tmp_path)) for part in variables["LD_LIBRARY_PATH"].split(":"))
    assert not {name for name in variables if name.startswith(("ROS", "AMENT", "PYTHON"))}


def test_what_a_dead_owner_left_goes_and_what_a_living_one_has_stays(tmp_path: Path) -> None:
    mine, left, young = (tmp_path / f"robot-rl-gazebo-{name}" for name in ("mine", "left", "young"))
    for folder in (mine, left, young):
        folder.mkdir()
    with own(mine):
        own(left).close()
        words = [sys.executable, "-c", "import time; time.sleep(60)"]
        with (
            subprocess.Popen([*words, str(left / "world.sdf")], cwd=left) as hung,
            subprocess.Popen(words, cwd=left) as reader,
        ):
            clear_leftovers(tmp_path)
            assert hung.wait(5.0) == -signal.SIGKILL
            assert reader.poll() is None, "a person who reads there is no server"
            reader.kill()
        assert mine.is_dir() and young.is_dir(), "one is owned, the other about to be"
        assert not left.exists()


@NEEDS_COMPILER
def test_what_is_bound_is_bound_on_loopback(tmp_path: Path) -> None:
    source = Path(protocol.__file__).parent / "loopback.cc"
    library = tmp_path / "loopback.so"
    subprocess.run(["g++", "-std=c++17", "-shared", "-fPIC", str(source), "-o", str(library), "-ldl"], check=True)
    program = "import socket; s = socket.socket(); s.bind(('0.0.0.0', 0)); print(s.getsockname()[0])"
    told = subprocess.run(
        ["/usr/bin/env", "python3", "-c", program], env={"LD_PRELOAD": str(library), "PATH": "/usr/bin:/bin"},
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert told.stdout.strip() == "127.0.0.1"
