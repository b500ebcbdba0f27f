"""Runs SQL jobs on a mini-cluster of Flink, one after the other, inside of the image: run_jobs.py PLAN.

PLAN: [{sql, records, url}]; the statements of ``sql`` with two changes: the source reads the files of folder ``records``
(one record a line, an empty one for a tombstone) instead of the topic of the same name, and the sink writes to ``url``.
"""

from __future__ import annotations

import json
import re
import sys
from importlib import import_module
from typing import Any

sys.path.insert(0, "/opt/tools")
SOURCE = re.compile(r"'connector' = 'kafka',\s*'topic' = '([^']+)',.*?(?=\n\))", re.DOTALL)
SINK = re.compile(r"jdbc:postgresql://[^/]+/\w+")


def localized(sql: str, records: str, url: str) -> str:
    """Return the statements with a folder as source and another sink; ValueError when they are not as expected."""
    options = ["'connector' = 'filesystem'", r"'path' = 'file://RECORDS/\1.jsonl'", "'format' = 'debezium-json'"]
    options += [f"'{name}' = '{value}'" for name, value in re.findall(r"'value\.(debezium-json\.[^']+)' = '([^']+)'", sql)]
    sql, sources = SOURCE.subn(",\n  ".join(options).replace("RECORDS", records), sql)
    sql, sinks = SINK.subn(url, sql)
    if (sources, sinks) != (1, 1):
        raise ValueError(f"expected one topic and one table, found {sources} and {sinks}")
    return sql


def main(plan: list[dict[str, str]], settings: dict[str, str]) -> None:
    """Run all; the files end, and so does each job."""
    tool: Any = import_module("flink_jobs")
    flink, table = import_module("pyflink.common"), import_module("pyflink.table")
    for job in plan:
        configuration = flink.Configuration()
        for key, value in settings.items():
            configuration.set_string(key, value)
        mode = table.EnvironmentSettings.new_instance().in_streaming_mode()
        environment = table.TableEnvironment.create(mode.with_configuration(configuration).build())
        for statement in tool.statements(localized(job["sql"], job["records"], job["url"])):
            result = environment.execute_sql(statement)
            if result.get_job_client() is not None:
                result.wait()


if __name__ == "__main__":
    main(**json.loads(sys.argv[1]))
