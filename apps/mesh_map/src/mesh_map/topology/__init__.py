"""The map itself: workloads, edges, alerts, freshness, the last proof."""
