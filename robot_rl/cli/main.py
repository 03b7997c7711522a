"""Entry point of `robot-rl`: finds the command, composes its configuration, runs it, and turns errors into one line.

Nothing heavy is imported here: `robot-rl --help` must answer at once.
"""

from __future__ import annotations

import errno
import os
import sys
from collections.abc import Callable, Mapping
from importlib.metadata import version
from typing import Any

from data.atomic import is_disk_full
from data.errors import UserError
from robot_rl.cli.output import table
from robot_rl.cli.verbs import GROUPS, Verb, find
from robot_rl.config import QuickstartConfig
from robot_rl.metrics import json_line
from robot_rl.options import Config

DONE, FAILED, USER_ERROR, INTERRUPTED = 0, 1, 2, 130


def main(arguments: list[str] | None = None) -> int:
    """Runs one command and returns its exit status: 0 done, 1 a check failed, 2 user error, 130 interrupted."""
    words = sys.argv[1:] if arguments is None else list(arguments)
    return guarded(lambda started: _dispatch(words, started))


def guarded(work: Callable[[list[Config]], int]) -> int:
    """Calls `work` and turns its errors into one line and an exit status.

    `work` appends the configuration that it runs to its argument, so that an interruption can say where to go on.
    """
    started: list[Config] = []
    try:
        return work(started)
    except UserError as error:
        return _complain(str(error))
    except KeyboardInterrupt:
        print("\n" + _interrupted(started[-1] if started else None), file=sys.stderr)
        return INTERRUPTED
    except BrokenPipeError:
        # The reader of our output (such as `head`) went away; keep Python from complaining at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return DONE
    except OSError as error:
        if error.filename and error.errno in (errno.EACCES, errno.EPERM, errno.EROFS):
            return _complain(f"no right to write or read {error.filename}: choose another place, or ask for the right")
        if not is_disk_full(error):
            raise
        place = f" at {error.filename}" if error.filename else ""
        return _complain(
            f"disk full{place}: what was recorded is kept; free some space and type the same command to go on"
        )


def _dispatch(words: list[str], started: list[Config]) -> int:
    from robot_rl.cli.help import command_help, group_help, overview

    if not words or words[0] in ("--help", "-h", "help"):
        print(overview())
        return DONE if words else USER_ERROR
    if words[0] == "--version":
        print(f"robot-rl {version('robot-rl')}")
        return DONE
    if words[0] in GROUPS and words[1:2] in (["--help"], ["-h"]):
        print(group_help(words[0]))
        return DONE
    verb, rest = find(words)
    if "--help" in rest or "-h" in rest:
        print(command_help(verb))
        return DONE
    as_json = "--json" in rest
    settings = ["yes=true" if word == "--yes" else word for word in rest if word != "--json"]
    return _run(verb, settings, as_json, started)


def _run(verb: Verb, words: list[str], as_json: bool, started: list[Config]) -> int:
    from robot_rl.cli.compose import compose_config

    config = compose_config(verb, words)
    started.append(config)
    return conclude(verb.load()(config), as_json, verb.table)


def conclude(figures: Mapping[str, Any] | None, as_json: bool, as_table: bool) -> int:
    """Prints a command's figures as asked and returns the exit status that they mean."""
    if as_json:
        print(json_line({"ok": True} if figures is None else figures))
    elif figures is not None and as_table:
        print(table(figures))
    return FAILED if figures is not None and figures.get("ok") is False else DONE


def _complain(message: str) -> int:
    line = " ".join(message.split())
    print(f"robot-rl: {line}", file=sys.stderr)
    return USER_ERROR


def _interrupted(config: Config | None) -> str:
    out = getattr(config, "out", None)
    if config is None:
        return "robot-rl: stopped before anything began"
    if out is None:
        return "robot-rl: stopped; nothing that was recorded is lost"
    # a quick start that was given no folder has made one up: the same words alone would make another
    where = f" with out={out}" if isinstance(config, QuickstartConfig) else ""
    return f"robot-rl: stopped; what was recorded is kept in {out}: type the same command{where} to go on"


if __name__ == "__main__":
    sys.exit(main())
