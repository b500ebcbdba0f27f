"""The service mesh: routes, what is probed on which edge, and how a broken mesh is restarted."""
