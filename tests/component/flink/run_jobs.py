"""Runs SQL jobs on a mini-cluster of Flink, one after the other, inside of the image: run_jobs.py FILE.

FILE: JSON of {plan: [{sql, url}], settings, kafka}; the statements of ``sql`` with three changes: the source reads ``kafka``, and ends
with what the topic holds now; the sinks write to ``url``. The answer is one line of JSON: [plan as Flink explains it, ...].
"""

from __future__ import annotations

import json
import re
import sys
from importlib import import_module
from pathlib import Path
from typing import Any

sys.path.insert(0, "/opt/tools")
TOPIC = re.compile(r"'topic' = '")
SINK = re.compile(r"jdbc:postgresql://[^/]+/\w+")


def localized(sql: str, url: str, kafka: str) -> str:
    """Return the statements with another broker and database; ValueError when they are not as expected."""
    sql = sql.replace("${kafka}", kafka)
    sql, sources = TOPIC.subn("'scan.bounded.mode' = 'latest-offset',\n  'topic' = '", sql)
    sql, sinks = SINK.subn(url, sql)
    if (sources, sinks) != (1, 2):
        raise ValueError(f"expected one topic and two tables, found {sources} and {sinks}")
    return sql


def main(plan: list[dict[str, str]], settings: dict[str, str], kafka: str) -> list[str]:
    """Run all; the topics end, and so does each job."""
    tool: Any = import_module("flink_jobs")
    flink, table = import_module("pyflink.common"), import_module("pyflink.table")
    plans = []
    for job in plan:
        configuration = flink.Configuration()
        for key, value in settings.items():
            configuration.set_string(key, value)
        mode = table.EnvironmentSettings.new_instance().in_streaming_mode()
        environment = table.TableEnvironment.create(mode.with_configuration(configuration).build())
        for statement in tool.statements(localized(job["sql"], job["url"], kafka)):
            if tool.opens_set(statement):
                plans.append(environment.execute_sql(re.sub("^EXECUTE", "EXPLAIN", statement)).collect().next()[0])
            result = environment.execute_sql(statement)
            if result.get_job_client() is not None:
                result.wait()
    return plans


if __name__ == "__main__":
    print(json.dumps(main(**json.loads(Path(sys.argv[1]).read_text(encoding="utf-8")))))
