"""One workload: its golden signals of the last hour."""
