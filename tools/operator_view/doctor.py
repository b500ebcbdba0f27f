"""`make doctor`: facts to paste into a report, each with its remedy where something is wrong."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

from operator_view import facts, settings


def lines(found: list[facts.Fact]) -> list[str]:
    """Return the facts as lines."""
    out = []
    for fact in found:
        out.append(f"{fact.name:<18}{fact.value}{'' if fact.fix else '   ok'}")
        if fact.fix:
            out.append(f"{'':<18}FIX: {fact.fix}")
    wrong = sum(1 for fact in found if fact.fix)
    return [*out, f"{len(found)} facts, {wrong} with a remedy"]


def main() -> int:
    """Print all facts; always 0, since a diagnosis of something broken is a success."""
    known = settings.load()
    with ThreadPoolExecutor(max_workers=6) as pool:
        found = list(pool.map(lambda probe: facts.ask(probe, known), facts.PROBES))
    print("\n".join(lines(found)))
    return 0
