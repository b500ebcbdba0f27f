# Copyright: the Bookstore Platform authors
# SPDX-License-Identifier: Apache-2.0
"""Checks of the images that run: who made them, and whether it is what was pushed that runs."""

from __future__ import annotations

from ansible_collections.bookstore.platform.plugins.module_utils.images import ledger
from ansible_collections.bookstore.platform.plugins.module_utils.verification.cluster_checks import containers, label, real_pods
from ansible_collections.bookstore.platform.plugins.module_utils.verification.model import Context, Finding, Object, verdict

# The namespaces of the cluster's and the mesh's own parts.
SYSTEM = ("kube-system", "istio-system")
# On the kubelet's own pods (etcd and the control plane). kubeadm names their images by a version's tag.
STATIC = "kubernetes.io/config.mirror"


def entries(context: Context) -> dict[str, ledger.Entry]:
    """Return the ledger of the image factory."""
    return {reference: ledger.entry(value) for reference, value in context.params["images"].items()}


def made_by_the_factory(context: Context) -> Finding:
    """Every image in the cluster was made by the image factory (SPEC 13.1).

    Its ledger maps each reference to the source that was used. Control-plane images carry version tags, which
    the ledger does not list; there the name must be one that the factory made. With source registry the control plane
    is what kind's own node image holds.
    """
    known, declared, sources = entries(context), context.params["image_source"], set()
    if not known:
        return verdict(["the ledger of the image factory is empty or missing, so no image can be accounted for; `make up` writes it"], "")
    names = {ledger.repository(reference) for reference in known}
    faults, used = set(), set()
    for pod in real_pods(context):
        system = pod["metadata"]["namespace"] == "kube-system"
        for container in containers(pod):
            reference = container["image"]
            used.add(reference)
            entry = known.get(ledger.bare(reference))
            if entry is None and system and ledger.repository(reference) in names:
                entry = ledger.Entry("packages")
            if entry is None and declared == "registry" and system:
                sources.add("kind's node image")
                continue
            if entry is None:
                faults.add(f"{reference} of pod {label(pod)} was not made by the image factory")
                continue
            sources.add(entry.source)
            if declared == "packages" and entry.source == "registry":
                faults.add(f"{reference} of pod {label(pod)} came from a container registry")
    detail = f"{len(used)} images, all accounted for; source: {', '.join(sorted(sources))}"
    return verdict(sorted(faults), detail, {"images": sorted(used)})


def digests(context: Context) -> Finding:
    """Every pod of the platform names its images by digest, one that the factory pushed, and that is what runs.

    A tag may be given other content, a digest may not. Static pods have tags; of them only what runs is compared.
    """
    known = entries(context)
    pushed: dict[str, set[str | None]] = {}
    for reference, entry in known.items():
        pushed.setdefault(ledger.repository(reference), set()).add(entry.digest)
    faults, seen = [], 0
    for pod in real_pods(context):
        if pod["metadata"]["namespace"] not in (*context.params["namespaces"], *SYSTEM):
            continue
        runs = running(pod)
        for container in containers(pod):
            reference, name = container["image"], f"container {container['name']} of pod {label(pod)}"
            ours = pushed.get(ledger.repository(reference))
            # kind's own node image brings these.
            if ours is None and context.params["image_source"] == "registry" and pod["metadata"]["namespace"] == "kube-system":
                continue
            seen += 1
            wanted, run = ledger.digest(reference), runs.get(container["name"], "")
            if STATIC in (pod["metadata"].get("annotations") or {}):
                allowed = ours or set()
            elif not wanted:
                faults.append(f"{name}: {reference} names no digest")
                continue
            else:
                allowed = {wanted}
                factory = known.get(ledger.bare(reference))
                if factory is not None and factory.digest not in (None, wanted):
                    faults.append(f"{name}: {reference} is not what the image factory pushed, {factory.digest}")
            # An entry of before digests were recorded, whose image the engine has no more, allows no judgement.
            if run and None not in allowed and ledger.digest(run) not in allowed:
                faults.append(f"{name} runs {run}, which is not {reference} as it was pushed")
    return verdict(sorted(faults), f"{seen} containers run what was pushed")


def running(pod: Object) -> dict[str, str]:
    """Return container name to the id of the image that it runs; containers that have not started are left out."""
    status = pod.get("status") or {}
    found = [*(status.get("initContainerStatuses") or []), *(status.get("containerStatuses") or [])]
    return {one["name"]: one["imageID"] for one in found if one.get("imageID")}
