# Copyright: the Bookstore Platform authors
# SPDX-License-Identifier: Apache-2.0
"""Concise playbook output that never leaves the operator without a sign of life."""

from __future__ import annotations

DOCUMENTATION = r"""
name: progress
type: stdout
short_description: Concise playbook output with heartbeats and phase durations
version_added: 0.1.0
description:
  - One line for each task that changed something, failed, or took a second or more; C(-v) shows all.
  - A task that runs longer than O(heartbeat) seconds is reported again and again, with what the image factory builds, or with what
    M(bookstore.platform.workload_ready) waits for. Of such a wait, each object that becomes ready has a line at once.
  - Ends with the durations of the phases and the usual recap, and writes the phases as JSON.
    Below that it shows the list C(closing_lines), if the playbook has set it with M(ansible.builtin.set_stats).
options:
  progress_file:
    description: File in which the image factory tells what it builds. Beside it, in waiting.json, a wait tells what it waits for.
    type: path
    env: [{name: BOOKSTORE_PROGRESS_FILE}]
  report_dir:
    description: Folder for the JSON report; bringup.json for the playbook bootstrap, run-<playbook>.json for others.
    type: path
    env: [{name: BOOKSTORE_REPORT_DIR}]
  heartbeat:
    description: Seconds between two signs of life of a running task.
    type: float
    default: 15.0
    env: [{name: BOOKSTORE_HEARTBEAT_SECONDS}]
author: The Bookstore Platform authors (@bookstore)
"""

import contextlib
import functools
import json
import threading
import time
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, TypeVar

from ansible import constants
from ansible.plugins.callback import CallbackBase
from ansible.utils.color import colorize, hostcolor

from ansible_collections.bookstore.platform.plugins.plugin_utils import forked_module, progress

NOISE_SECONDS = 1.0
Method = TypeVar("Method", bound=Callable[..., None])
BOOTSTRAP = "bootstrap"
TEARDOWN = "teardown"


def guarded(method: Method) -> Method:
    """Turn an error of this plugin into a warning: Ansible would end the playbook, and output is not worth that."""

    @functools.wraps(method)
    def call(self: Any, *args: Any, **kwargs: Any) -> Any:
        try:
            return method(self, *args, **kwargs)
        except Exception as error:
            self._display.warning(f"the output plugin failed in {method.__name__}: {type(error).__name__}: {error}")
            return None

    return call  # type: ignore[return-value]


class CallbackModule(CallbackBase):  # type: ignore[misc]  # Ansible has no types
    """See DOCUMENTATION. Everything is printed through Ansible's display, whose lock also guards forks."""

    CALLBACK_VERSION = 2.0
    CALLBACK_TYPE = "stdout"
    CALLBACK_NAME = "bookstore.platform.progress"

    def __init__(self, display: Any = None, options: Any = None) -> None:
        super().__init__(display=display, options=options)
        self._phases = progress.Phases()
        self._started = time.time()
        self._playbook = BOOTSTRAP
        self._play = ""
        self._shown_phase: str | None = None
        self._number = 0
        # Task that runs: (title, phase, start), or None. A tuple is replaced as a whole, so no lock is needed.
        self._task: tuple[str, str, float] | None = None
        self._changed = False
        self._failed = False
        self._reported = False
        # Of which task how many lines of a wait were shown; guarded by the lock, for two threads show them.
        self._told: tuple[Any, int] = (None, 0)
        self._lock = threading.Lock()
        self._stop = threading.Event()
        self._thread: threading.Thread | None = None

    # Tasks begin and end ------------------------------------------------------------------------------------------

    @guarded
    def v2_playbook_on_start(self, playbook: Any) -> None:
        self._playbook = Path(playbook._file_name).stem
        self._started = time.time()
        # Here, because nothing is forked yet: workers find imported what modules need.
        forked_module.preload()
        self._thread = threading.Thread(target=self._beat, name="progress-heartbeat", daemon=True)
        self._thread.start()

    @guarded
    def v2_playbook_on_play_start(self, play: Any) -> None:
        self._close_task()
        self._play = play.get_name().strip() or "play"

    @guarded
    def v2_playbook_on_task_start(self, task: Any, is_conditional: bool) -> None:
        self._close_task()
        role = task._role.get_name() if task._role else ""
        self._number += 1
        self._changed = self._failed = self._reported = False
        self._task = (progress.title_of(role, task.get_name().strip()), role or self._play, time.monotonic())

    @guarded
    def v2_playbook_on_handler_task_start(self, task: Any) -> None:
        self.v2_playbook_on_task_start(task, False)

    @guarded
    def v2_playbook_on_cleanup_task_start(self, task: Any) -> None:
        self.v2_playbook_on_task_start(task, False)

    def _close_task(self) -> None:
        """Count the task that ended. Its line was printed with its result."""
        task, self._task = self._task, None
        if task is not None:
            self._phases.add(task[1], time.monotonic() - task[2], self._changed)

    # Results ------------------------------------------------------------------------------------------------------

    @guarded
    def v2_runner_on_ok(self, result: Any) -> None:
        self._handle_warnings(result.result)
        changed = result.is_changed()
        self._changed = self._changed or changed
        self._finish(result, "changed" if changed else "ok", changed, constants.COLOR_CHANGED if changed else constants.COLOR_OK)
        if not result.result.get("results"):
            self._extra(result)

    @guarded
    def v2_runner_on_skipped(self, result: Any) -> None:
        self._finish(result, "skipped", False, constants.COLOR_SKIP)

    @guarded
    def v2_runner_on_failed(self, result: Any, ignore_errors: bool = False) -> None:
        self._handle_warnings(result.result)
        # As Ansible's own counts do.
        self._changed = self._changed or bool(ignore_errors and result.is_changed())
        self._finish(result, "failed, ignored" if ignore_errors else "FAILED", True, constants.COLOR_ERROR)
        # Of a loop, the failed items were shown when they failed.
        if not result.result.get("results"):
            self._failure(result)

    @guarded
    def v2_runner_on_unreachable(self, result: Any) -> None:
        self._finish(result, "UNREACHABLE", True, constants.COLOR_UNREACHABLE)
        self._failure(result)

    @guarded
    def v2_runner_item_on_ok(self, result: Any) -> None:
        self._extra(result)
        if self._display.verbosity:
            self._show(f"        item {self._item(result)}: {'changed' if result.is_changed() else 'ok'}")

    @guarded
    def v2_runner_item_on_failed(self, result: Any) -> None:
        self._show(f"        item {self._item(result)} failed:", constants.COLOR_ERROR)
        self._failure(result)

    @guarded
    def v2_runner_item_on_skipped(self, result: Any) -> None:
        if self._display.verbosity:
            self._show(f"        item {self._item(result)}: skipped", constants.COLOR_SKIP)

    @guarded
    def v2_runner_retry(self, result: Any) -> None:
        if self._display.verbosity:
            left = result.result.get("retries", 0) - result.result.get("attempts", 0)
            self._show(f"        tried again, {left} tries left")

    @guarded
    def v2_on_file_diff(self, result: Any) -> None:
        diff = result.result.get("diff")
        if diff and "censored" not in result.result:
            self._show(self._get_diff(diff if isinstance(diff, list) else [diff]))

    def _finish(self, result: Any, status: str, always: bool, color: str | None) -> None:
        """Print the line of a task, unless it is noise."""
        if self._task is None:
            return
        self._show_waiting(self._task)
        title, phase, start = self._task
        seconds = time.monotonic() - start
        if not always and not self._display.verbosity and (seconds < NOISE_SECONDS or status == "skipped"):
            return
        if self._shown_phase != phase:
            self._shown_phase = phase
            self._show(f"== {phase}")
        self._show(progress.task_line(self._number, title, status, seconds), color)
        if self._display.verbosity >= 2 and "censored" not in result.result:
            self._show(
                json.dumps(
                    {k: v for k, v in result.result.items() if k not in ("exception", "invocation")},
                    indent=1,
                    default=str,
                )
            )

    def _extra(self, result: Any) -> None:
        """Print what a task wants to tell: debug messages, and the key report_lines of a module."""
        content = result.result
        if "censored" in content:
            return
        if result.task.action in constants._ACTION_DEBUG:
            shown = {
                k: v for k, v in content.items() if not k.startswith("_") and k not in ("changed", "failed", "skipped")
            }
            text = progress.message_of(content) if "msg" in content else json.dumps(shown, indent=1, default=str)
            self._show("\n".join(f"      {line}" for line in text.splitlines()))
        self._report_lines(content)

    def _report_lines(self, content: dict[str, Any]) -> None:
        lines = content.get("report_lines")
        if isinstance(lines, list) and not self._reported:
            self._reported = True
            self._show("\n".join(f"      {line}" for line in lines))

    def _failure(self, result: Any) -> None:
        self._report_lines(result.result)
        where = (result.task.get_path() or "") if result.task else ""
        self._show("\n".join(progress.failure(result.result, where)), constants.COLOR_ERROR)

    @staticmethod
    def _item(result: Any) -> str:
        return "(censored)" if "censored" in result.result else result.result.get("_ansible_item_label", "")

    def _show(self, text: str, color: str | None = None) -> None:
        self._display.display(text, color=color)

    # Signs of life ------------------------------------------------------------------------------------------------

    def _beat(self) -> None:
        """Runs in a thread of its own until the playbook ends; prints only through the display."""
        told: tuple[Any, int] = (None, 0)
        while not self._stop.wait(0.5):
            task = self._task
            interval = self.get_option("heartbeat")
            if task is None:
                continue
            with contextlib.suppress(ValueError):  # as below
                self._show_waiting(task)
            if interval <= 0:
                continue
            elapsed = time.monotonic() - task[2]
            count = int(elapsed // interval)
            if count == 0 or told == (task, count):
                continue
            told = (task, count)
            with contextlib.suppress(ValueError):  # the output was closed under us, at exit
                self._show("\n".join(progress.heartbeat(task[0], elapsed, self._progress(task))))

    def _progress(self, task: tuple[str, str, float]) -> str:
        file = self.get_option("progress_file")
        waiting = progress.waiting_text(self._waiting(task))
        return waiting or (progress.progress_text(progress.read_progress(file, self._started), time.time()) if file else "")

    def _waiting(self, task: tuple[str, str, float]) -> dict[str, Any] | None:
        """Return what the wait of a task tells of itself, if it is one."""
        file = self.get_option("progress_file")
        started = time.time() - (time.monotonic() - task[2])
        return progress.read_progress(str(Path(file).with_name("waiting.json")), started) if file else None

    def _show_waiting(self, task: tuple[str, str, float]) -> None:
        """Show the lines of a task's wait that were not shown yet."""
        lines = (self._waiting(task) or {}).get("lines") or []
        with self._lock:
            shown = self._told[1] if self._told[0] is task else 0
            self._told = (task, max(shown, len(lines)))
        for line in lines[shown:]:
            self._show("\n".join(progress.wrap(str(line), "      ")))

    # The end ------------------------------------------------------------------------------------------------------

    @guarded
    def v2_playbook_on_no_hosts_matched(self) -> None:
        self._show("skipped: no hosts matched", constants.COLOR_SKIP)

    @guarded
    def v2_playbook_on_stats(self, stats: Any) -> None:
        self._close_task()
        self._stop.set()
        if self._thread is not None:
            self._thread.join(timeout=2)
        self._show("\nPhases")
        self._show("\n".join(self._phases.table()))
        self._write_report(stats)
        self._display.banner("PLAY RECAP")
        for host in sorted(stats.processed):
            self._recap(host, stats.summarize(host))
        self._close(stats)

    def _close(self, stats: Any) -> None:
        """Print what the playbook set as the statistic closing_lines, the last thing that the operator sees."""
        lines = stats.custom.get("_run", {}).get("closing_lines")
        if isinstance(lines, list) and not any(stats.summarize(host)["failures"] for host in stats.processed):
            self._show("\n" + "\n".join(str(line) for line in lines))

    def _recap(self, host: str, summary: dict[str, int]) -> None:
        """The standard recap line, which scripts and tests read."""
        cells = [
            ("ok", summary["ok"], constants.COLOR_OK), ("changed", summary["changed"], constants.COLOR_CHANGED),
            ("unreachable", summary["unreachable"], constants.COLOR_UNREACHABLE),
            ("failed", summary["failures"], constants.COLOR_ERROR),
            ("skipped", summary["skipped"], constants.COLOR_SKIP), ("rescued", summary["rescued"], constants.COLOR_OK),
            ("ignored", summary["ignored"], constants.COLOR_WARN),
        ]  # fmt: skip
        self._show(f"{hostcolor(host, summary)} : {' '.join(colorize(*cell) for cell in cells)}")

    def _write_report(self, stats: Any) -> None:
        folder = self.get_option("report_dir")
        # What a teardown removed is not made again by its own report.
        if not folder or (self._playbook == TEARDOWN and not Path(folder).is_dir()):
            return
        summaries = [stats.summarize(host) for host in stats.processed]
        name = "bringup.json" if self._playbook == BOOTSTRAP else f"run-{self._playbook}.json"
        document = {
            "playbook": self._playbook,
            "started": datetime.fromtimestamp(self._started, UTC).isoformat(timespec="seconds"),
            "seconds": round(time.time() - self._started, 1),
            "ok": not any(s["failures"] or s["unreachable"] for s in summaries),
            "changed": sum(s["changed"] for s in summaries),
            "phases": self._phases.document(),
        }
        try:
            progress.write_json(Path(folder) / name, document)
        except OSError as error:
            self._display.warning(f"the report {folder}/{name} could not be written: {error}")
