"""docs/your-task.md: its file and its commands work as they stand there, and the task is learned."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tests.system.command_line import records, typed

PAGE = Path(__file__).parents[2] / "docs/your-task.md"


def blocks(language: str) -> list[str]:
    """Content of the page's code blocks of a language."""
    found = re.findall(r"^```(\w*)\n(.*?)^```$", PAGE.read_text(), re.DOTALL | re.MULTILINE)
    return [content for name, content in found if name == language]


@pytest.mark.slow
def test_the_page_builds_checks_and_learns_a_task(tmp_path: Path) -> None:
    (source,) = blocks("python")
    (tmp_path / "press.py").write_text(source)
    commands = next(block for block in blocks("") if "robot-rl check" in block).splitlines()
    check, finetune, report = (command.removeprefix("robot-rl ") for command in commands)
    assert typed(check, tmp_path).out == "press:Press: all checks passed\n"
    assert "steps=1500 warmup=150" in finetune
    typed(f"{finetune} eval_every=0 final_episodes=20", tmp_path)
    (final,) = records(tmp_path / "runs/press", "eval")
    assert final["success_rate"] >= 0.8
    typed(report, tmp_path)
    text = (tmp_path / "runs/press/report.html").read_text()
    assert "press:Press" in text
