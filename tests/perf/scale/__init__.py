"""Benchmark of scale: what the platform costs with 10 thousand, 100 thousand and 1 million orders.

``make up ARGS="-e apps_rate_limit_factor=100"``, then ``PYTHONPATH=collections python -m tests.perf.scale``, then ``make up``.
"""
