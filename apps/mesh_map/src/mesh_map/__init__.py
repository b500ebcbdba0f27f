"""The mesh map: draws the live topology from Prometheus and the Kubernetes API, and changes nothing."""
