"""The container engine (Docker), through its command line client."""
