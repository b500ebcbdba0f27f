"""Objects of any Kubernetes cluster: a view of its API server, manifests, Secrets, readiness of workloads."""
