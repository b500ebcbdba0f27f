# Copyright: the Bookstore Platform authors
# SPDX-License-Identifier: Apache-2.0
"""The wording of the output of ansible-playbook, without Ansible: phases, lines, heartbeats, failures."""

from __future__ import annotations

import json
import os
import textwrap
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

WIDTH = 120
# Results that explain a failure, besides msg, in the order in which they are shown.
DETAILS = ("stderr", "stdout", "module_stderr", "module_stdout")
DETAIL_LINES = 20


@dataclass
class Phase:
    """All tasks of one role (or of a play without roles); seconds are those of its tasks."""

    name: str
    seconds: float = 0.0
    changed: int = 0
    tasks: int = 0


@dataclass
class Phases:
    """Phases in the order in which they first appeared."""

    by_name: dict[str, Phase] = field(default_factory=dict)

    def add(self, name: str, seconds: float, changed: bool) -> None:
        """Count a finished task."""
        phase = self.by_name.setdefault(name, Phase(name))
        phase.seconds += seconds
        phase.tasks += 1
        phase.changed += int(changed)

    def table(self) -> list[str]:
        """Return one line for each phase that took noticeable time, and the sum."""
        shown = [p for p in self.by_name.values() if p.seconds >= 0.1 or p.changed]
        lines = [f"  {p.name:<24}{duration(p.seconds):>9}   changed {p.changed}" for p in shown]
        total, changed = sum(p.seconds for p in self.by_name.values()), sum(p.changed for p in self.by_name.values())
        return [*lines, f"  {'total':<24}{duration(total):>9}   changed {changed}"]

    def document(self) -> list[dict[str, Any]]:
        """Return the phases for the JSON report: name, seconds, changed, tasks."""
        return [
            {"name": p.name, "seconds": round(p.seconds, 1), "changed": p.changed, "tasks": p.tasks}
            for p in self.by_name.values()
        ]


def duration(seconds: float) -> str:
    """Return seconds as 2.1s, 45s, 3m 05s or 1h 02m."""
    if seconds < 10:
        return f"{seconds:.1f}s"
    whole = round(seconds)
    if whole < 60:
        return f"{whole}s"
    if whole < 3600:
        return f"{whole // 60}m {whole % 60:02d}s"
    return f"{whole // 3600}h {whole % 3600 // 60:02d}m"


def task_line(number: int, title: str, status: str, seconds: float) -> str:
    """Return the line of a finished task."""
    return f"[{number:3d}] {title}   {status} {duration(seconds)}"


def title_of(role: str, name: str) -> str:
    """Return <role> · <task name>; Ansible puts the role before the name with a colon."""
    short = name.removeprefix(f"{role} : ") if role else name
    return f"{role} · {short}" if role else short


def read_progress(file: str, not_before: float) -> dict[str, Any] | None:
    """Return the progress document {running: [{name, since, log}], done, total}, or None when there is none.

    A file older than ``not_before`` (epoch seconds) is what a killed run left. A file in JSON lines counts by its
    last line.
    """
    path = Path(file)
    try:
        if path.stat().st_mtime < not_before:
            return None
        text = path.read_text(encoding="utf-8").strip()
    except OSError:
        return None
    for candidate in (text, text.splitlines()[-1] if text else ""):
        try:
            document = json.loads(candidate)
        except ValueError:
            continue
        return document if isinstance(document, dict) else None
    return None


def progress_text(document: dict[str, Any] | None, now: float) -> str:
    """Return what is being built, for how long, and where its log is; empty when nothing is."""
    running = (document or {}).get("running")
    if not document or not isinstance(running, list) or not running:
        return ""
    parts = []
    for entry in running:
        if isinstance(entry, dict) and isinstance(entry.get("since"), (int, float)):
            parts.append(f"{entry.get('name')} {duration(max(0.0, now - entry['since']))} (log {entry.get('log')})")
    counts = f"{document.get('done', '?')} of {document.get('total', '?')} done"
    return f"{counts}, building {', '.join(parts)}" if parts else ""


def waiting_text(document: dict[str, Any] | None) -> str:
    """Return how many objects of a wait {lines, ready, total, waiting: [{name, reason}]} are ready, and what the others lack."""
    waiting = (document or {}).get("waiting")
    if not document or not isinstance(waiting, list) or not waiting:
        return ""
    named = "; ".join(f"{entry.get('name')}: {entry.get('reason')}" for entry in waiting if isinstance(entry, dict))
    return f"{document.get('ready', '?')} of {document.get('total', '?')} ready; {named}"


def heartbeat(title: str, elapsed: float, progress: str) -> list[str]:
    """Return the lines that show that a long task is alive."""
    lines = [f"      ... {title}, for {duration(elapsed)}"]
    return [*lines, f"          {progress}"] if progress else lines


def wrap(text: str, indent: str) -> list[str]:
    """Return text wrapped to WIDTH, its own line breaks and indents kept."""
    lines: list[str] = []
    for line in text.splitlines():
        own = indent + line[: len(line) - len(line.lstrip())]
        lines += textwrap.wrap(
            line.strip(), WIDTH, initial_indent=own, subsequent_indent=f"{own}  ",
            break_long_words=False, break_on_hyphens=False,
        ) or [""]  # fmt: skip
    return lines


def failure(result: dict[str, Any], where: str) -> list[str]:
    """Return a failed result in readable form. ``result`` was censored by Ansible if it may not be shown."""
    lines = wrap(identified(result), "      ")
    if "censored" not in result:
        for key in DETAILS:
            text = result.get(key)
            if isinstance(text, str) and text.strip() and text.strip() not in str(result.get("msg", "")):
                tail = text.strip().splitlines()[-DETAIL_LINES:]
                lines += [f"      {key}:", *(f"        {line}" for line in tail)]
    return [*lines, f"      at {where}"] if where else lines


def identified(result: dict[str, Any]) -> str:
    """Return the message of a failure; where Ansible itself refused a role's options, with an id."""
    if "argument_errors" not in result or "censored" in result:
        return message_of(result)
    role = str((result.get("validate_args_context") or {}).get("name") or "")
    where = f"; roles/{role}/meta/argument_specs.yml describes each option" if role else ""
    return f"BK-299: {f'role {role}: ' if role else ''}{'; '.join(map(str, result['argument_errors']))}{where}"


def message_of(result: dict[str, Any]) -> str:
    """Return the message of a result; a list is shown one entry a line."""
    if "censored" in result:
        return str(result["censored"])
    message = result.get("msg", "")
    if isinstance(message, list):
        return "\n".join(str(entry) for entry in message)
    if isinstance(message, (dict, tuple)):
        return json.dumps(message, indent=1, default=str)
    return str(message) or "(no message)"


def write_json(file: Path, document: dict[str, Any]) -> None:
    """Write a JSON file, whole or not at all; OSError when it cannot be written."""
    file.parent.mkdir(parents=True, exist_ok=True)
    temporary = file.with_name(f".{file.name}.{os.getpid()}")
    temporary.write_text(json.dumps(document, indent=1), encoding="utf-8")
    os.replace(temporary, file)
