"""The kind cluster's nodes, seen from the engine: containers, join tokens, certificates. It works without an API server."""
