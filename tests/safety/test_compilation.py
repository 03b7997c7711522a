"""A changed limit must never run on with its old value from a cache."""

from __future__ import annotations

import ast
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from safety.compilation import kernel_sources, kernels_hash

ROOT = Path(__file__).resolve().parents[2]


def imports_of(path: Path) -> set[Path]:
    """Files of safety/ and controllers/ that a file imports when it runs (not those for type checkers only)."""
    found = set()
    for node in ast.parse(path.read_text()).body:
        if isinstance(node, ast.ImportFrom) and node.module and node.module.split(".")[0] in ("safety", "controllers"):
            for name in [node.module, *(f"{node.module}.{alias.name}" for alias in node.names)]:
                file = ROOT / (name.replace(".", "/") + ".py")
                if file.is_file():
                    found.add(file)
    return found


def test_every_file_that_feeds_a_kernel_counts() -> None:
    counted = set(kernel_sources())
    holders = [path for path in counted if "\n@kernel\n" in path.read_text()]
    assert len(holders) >= 8
    dtypes_only = {ROOT / "controllers/chain_memory.py", ROOT / "controllers/impedance.py"}
    for path in holders:
        assert imports_of(path) - counted <= dtypes_only, f"{path} takes constants from files that the cache ignores"


@pytest.fixture
def copy(tmp_path: Path) -> Path:
    for room in ("safety", "controllers", "data"):
        shutil.copytree(ROOT / room, tmp_path / room, ignore=shutil.ignore_patterns("__pycache__"))
    return tmp_path


def test_an_edit_of_a_limit_leads_to_another_cache(copy: Path) -> None:
    before = kernels_hash(copy)
    assert before == kernels_hash(), "the same sources share a cache, wherever they lie"
    path = copy / "safety/torque_limits.py"
    path.write_text(path.read_text().replace("wish = 0.0", "wish = 0.001"))
    kernels_hash.cache_clear()
    assert kernels_hash(copy) != before


def test_a_file_without_kernels_does_not_count(copy: Path) -> None:
    before = kernels_hash(copy)
    path = copy / "controllers/arm_model.py"
    path.write_text(path.read_text() + "\n# a remark\n")
    kernels_hash.cache_clear()
    assert kernels_hash(copy) == before


def test_a_changed_helper_changes_what_its_callers_compute(copy: Path) -> None:
    """The very case that Numba's own cache misses: the callee in another file changes, the caller does not."""
    program = (
        "import numpy as np; from safety.reference_limiter import clip_to_cone; import safety.so3 as s; "
        "print(s.__file__); print(clip_to_cone((0.0, 0.0, 0.0, 1.0), (1.0, 0.0, 0.0), 0.5)[0][1])"
    )
    environment = {"PYTHONPATH": str(copy), "XDG_CACHE_HOME": str(copy / "cache"), "PATH": ""}

    def run() -> float:
        answer = subprocess.run(
            [sys.executable, "-c", program], env=environment, cwd=copy, capture_output=True, text=True, check=True
        ).stdout.split()
        assert Path(answer[0]).is_relative_to(copy)
        return float(answer[1])

    first = run()
    path = copy / "safety/so3.py"
    path.write_text(path.read_text().replace("math.sin(0.5 * angle) / angle", "0.9 * math.sin(0.5 * angle) / angle"))
    assert run() != first
    assert len(list((copy / "cache/robot-rl/kernels").iterdir())) == 2
