# Copyright: the Bookstore Platform authors
# SPDX-License-Identifier: Apache-2.0
"""Checks of what workers did not apply: gaps in what they read, and dead letters by name."""

from __future__ import annotations

from ansible_collections.bookstore.platform.plugins.module_utils.kubernetes.cluster import Cluster
from ansible_collections.bookstore.platform.plugins.module_utils.pipeline import event_replay
from ansible_collections.bookstore.platform.plugins.module_utils.pipeline.cdc_tables import psql
from ansible_collections.bookstore.platform.plugins.module_utils.verification import pipeline_checks
from ansible_collections.bookstore.platform.plugins.module_utils.verification.model import (
    Context,
    Finding,
    Object,
    skipped,
    verdict,
)

CALL_TIMEOUT = 30.0


def observe(cluster: Cluster, wanted: Object) -> Object:
    """Return {unread: {worker: gaps}, letters: {worker: dead letters}} of the workers whose group is declared."""
    sql = psql(cluster, CALL_TIMEOUT)
    places = [consumer.place for consumer in event_replay.CONSUMERS if f"{consumer.place}-service" in wanted["groups"]]
    return {
        "unread": {place: event_replay.open_gaps(sql, place) for place in places},
        "letters": {place: event_replay.open_letters(sql, place) for place in places},
    }


def gaps(context: Context) -> Finding:
    """No worker lacks events that it never saw."""
    if context.pipeline is None:
        return skipped("not asked: no pipeline is declared, or this is check mode, which runs no command in pods")
    unread = context.pipeline.result().get("unread", {})
    faults = [
        f"{place}-worker: {event_replay.gap_text(gap)}, and no hold expires until that is repaired"
        for place, found in unread.items()
        for gap in found
    ]
    return verdict(faults, f"nothing is missing of what {', '.join(unread) or 'nobody'} consumes")


def dead_letters(context: Context) -> Finding:
    """No event was set aside; those that were are named, with where they were and why."""
    finding = pipeline_checks.dead_letters(context)
    if context.pipeline is None:
        return finding
    letters = context.pipeline.result().get("letters", {})
    named = [event_replay.letter_text(letter) for found in letters.values() for letter in found if not letter["applied"]]
    return verdict([*finding.faults, *named], finding.detail) if named else finding
