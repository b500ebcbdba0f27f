"""What the suite makes in the cluster, and that it is gone afterwards: its namespaces are ended, anything else is named."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable, Collection
from pathlib import Path
from typing import Any

from ansible_collections.bookstore.platform.plugins.module_utils.base.waiter import wait_for
from operator_view.conformance import ConformanceError

# The suite gives it to each namespace that it makes, and to nothing else.
LABEL = "e2e-run"
# What lies in no namespace and specs make; they remove it themselves unless they are killed.
KINDS = (
    "apiservices", "clusterroles", "clusterrolebindings", "customresourcedefinitions", "mutatingwebhookconfigurations",
    "validatingwebhookconfigurations", "validatingadmissionpolicies", "validatingadmissionpolicybindings", "persistentvolumes",
    "priorityclasses", "runtimeclasses", "storageclasses", "csidrivers", "ingressclasses", "flowschemas",
)  # fmt: skip
SECONDS = 300.0
OUTSIDE_SECONDS = 60.0


class Kubectl:
    """Calls kubectl with the platform's kubeconfig."""

    def __init__(self, program: Path, kubeconfig: Path, seconds: float = 120.0) -> None:
        self.seconds = seconds
        self.command = [str(program), f"--kubeconfig={kubeconfig}", "--request-timeout=30s"]

    def __call__(self, *arguments: str) -> str:
        """Return what a command prints; ConformanceError (BK-423) when it fails."""
        # In a session of its own: a signal to the terminal's processes must not end the tidying.
        try:
            done = subprocess.run(
                [*self.command, *arguments], capture_output=True, text=True, timeout=self.seconds, check=False, start_new_session=True
            )
        except subprocess.TimeoutExpired as error:
            asked = " ".join(arguments)
            raise ConformanceError(f"BK-423: `kubectl {asked}` gave no answer in {self.seconds:.0f} s; `make status`") from error
        if done.returncode != 0:
            reason = " ".join((done.stderr or done.stdout).split())
            raise ConformanceError(f"BK-423: `kubectl {' '.join(arguments)}` failed: {reason}; `make status` tells what is wrong")
        return done.stdout


def namespaces(kubectl: Callable[..., str], platform: Collection[str]) -> list[str]:
    """Return the suite's namespaces; one of the platform is none, whatever its labels say."""
    found: dict[str, Any] = json.loads(kubectl("get", "namespaces", f"--selector={LABEL}", "--output=json"))
    return sorted(name for name in (item["metadata"]["name"] for item in found["items"]) if name not in platform)


def end(kubectl: Callable[..., str], platform: Collection[str], seconds: float = SECONDS) -> list[str]:
    """End the suite's namespaces; return those that there were. ConformanceError (BK-423) when some are still there in the end."""
    there = namespaces(kubectl, platform)
    if there:
        kubectl("delete", "namespaces", "--wait=false", "--ignore-not-found", *there)
    waited = wait_for(lambda: namespaces(kubectl, platform), lambda found: not found, timeout=seconds)
    if not waited.done:
        raise ConformanceError(
            f"BK-423: after {seconds:.0f} s these namespaces of the suite have not ended: {', '.join(waited.value or [])}; "
            "`kubectl get namespace NAME -o yaml` says what they wait for"
        )
    return there


def outside(kubectl: Callable[..., str]) -> set[str]:
    """Return the names of everything of KINDS, and of what specs permit themselves in kube-system."""
    permitted = kubectl("get", "roles,rolebindings", "--namespace=kube-system", "--output=name").split()
    return {*kubectl("get", ",".join(KINDS), "--output=name").split(), *(f"--namespace=kube-system {name}" for name in permitted)}


def left_behind(kubectl: Callable[..., str], before: set[str], seconds: float = OUTSIDE_SECONDS) -> list[str]:
    """Return what lies outside of namespaces and was not there ``before``; volumes end a while after their namespaces."""
    return sorted(wait_for(lambda: outside(kubectl) - before, lambda found: not found, timeout=seconds, interval=2.0).value)


class Memory:
    """What was there before a run, in a file that only a run which was killed leaves."""

    def __init__(self, file: Path) -> None:
        self.file = file

    def earlier(self, now: set[str]) -> list[str]:
        """Return what is there since a run that was killed; nothing when there was none."""
        try:
            before: list[str] = json.loads(self.file.read_text(encoding="utf-8"))
        except FileNotFoundError:
            return []
        except ValueError:
            # Killed while it wrote this, before it ran anything.
            return []
        return sorted(now - set(before))

    def keep(self, now: set[str]) -> None:
        """Remember what is there."""
        self.file.write_text(json.dumps(sorted(now)), encoding="utf-8")

    def forget(self) -> None:
        """The run ended in order, and has told what it left."""
        self.file.unlink(missing_ok=True)
