"""Where the map gets its facts: Prometheus, the Kubernetes API, and what the inventory declares."""
