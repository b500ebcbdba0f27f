#!/usr/bin/python
# Copyright: the Bookstore Platform authors
# SPDX-License-Identifier: Apache-2.0
"""Create a kind cluster, bring it back, complete it, or remove it."""

from __future__ import annotations

DOCUMENTATION = r"""
---
module: kind_cluster
short_description: Create a kind cluster, bring it back, complete it, or remove it
version_added: 0.1.0
description:
  - A cluster whose creation was interrupted is removed and made again. Stopped nodes are started.
    A worker without a container or without a Node is replaced. A healthy cluster is left alone.
  - Nodes join with a random bootstrap token that is deleted afterwards. All bootstrap tokens that are found are deleted.
  - Certificates of the nodes and of the kubeconfig that end within a month are renewed.
  - Nodes that are cordoned are named in a warning and stay so.
options:
  name:
    description: Name of the cluster and of its network.
    type: str
    required: true
  state:
    description: Whether the cluster exists.
    type: str
    choices: [present, absent]
    default: present
  kind:
    description: The kind program.
    type: path
  image:
    description: Node image, in the engine.
    type: str
  config:
    description: kind's configuration, as text.
    type: str
  workers:
    description: How many workers the cluster must have.
    type: int
    default: 2
  subnet:
    description: Address range of the nodes' network.
    type: str
  kubeconfig:
    description: Where the kubeconfig is written.
    type: path
    required: true
  log:
    description: Log file of kind.
    type: path
    required: true
  image_source:
    description: Where the images of a new cluster come from; remembered in it, see M(bookstore.platform.kind_cluster_info).
    type: str
    choices: [packages, registry]
    default: packages
  registry:
    description: Prefix of the image references for which O(registry_hosts) holds.
    type: str
    default: ""
  registry_hosts:
    description: containerd's hosts.toml for O(registry), written into every node that lacks it.
    type: str
    default: ""
  rebuild:
    description: Remove the cluster first; data on the host is kept.
    type: bool
    default: false
  timeout:
    description: Bound of each wait, in seconds.
    type: int
    default: 300
author: The Bookstore Platform authors (@bookstore)
"""

EXAMPLES = r"""
- name: Make sure that the cluster runs
  bookstore.platform.kind_cluster:
    name: bookstore
    kind: /usr/local/bin/kind
    image: bookstore.local/node:1
    config: "{{ lookup('template', 'kind.yml.j2') }}"
    subnet: 172.30.0.0/16
    kubeconfig: ~/.kube/bookstore
    log: /tmp/kind.log
"""

RETURN = r"""
created:
  description: Whether the cluster was made.
  type: bool
  returned: success
started:
  description: Nodes that were started.
  type: list
  returned: success
joined:
  description: Workers that were replaced.
  type: list
  returned: success
configured:
  description: Nodes into which O(registry_hosts) was written.
  type: list
  returned: success
tokens_ended:
  description: Secrets of bootstrap tokens that were found and deleted.
  type: list
  returned: success
renewed:
  description: "Certificates that were renewed, each as C(<node>: <path>)."
  type: list
  returned: success
cordoned:
  description: Nodes that take no new pods, because an operator cordoned or drained them.
  type: list
  returned: success
older:
  description: Nodes that were made from another image than O(image), and work all the same.
  type: list
  returned: success
nodes:
  description: All nodes that the cluster has, as objects to wait for.
  type: list
  returned: success
settings_differ:
  description: Whether the running cluster was made with other settings; rebuild to apply them.
  type: bool
  returned: success
"""

import contextlib
from pathlib import Path

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.bookstore.platform.plugins.module_utils.base import failures
from ansible_collections.bookstore.platform.plugins.module_utils.engine.docker import DockerError, containers
from ansible_collections.bookstore.platform.plugins.module_utils.host import run_lock
from ansible_collections.bookstore.platform.plugins.module_utils.kind.certificates import CertificateError
from ansible_collections.bookstore.platform.plugins.module_utils.kind.kind_cluster import KindCluster, KindClusterError
from ansible_collections.bookstore.platform.plugins.module_utils.kind.node_certificates import LABEL


def main() -> None:
    """Run the module."""
    module = AnsibleModule(
        argument_spec={
            "name": {"type": "str", "required": True},
            "state": {"type": "str", "choices": ["present", "absent"], "default": "present"},
            "kind": {"type": "path"},
            "image": {"type": "str"},
            "config": {"type": "str"},
            "workers": {"type": "int", "default": 2},
            "subnet": {"type": "str"},
            "kubeconfig": {"type": "path", "required": True},
            "log": {"type": "path", "required": True},
            "image_source": {"type": "str", "choices": ["packages", "registry"], "default": "packages"},
            "registry": {"type": "str", "default": ""},
            "registry_hosts": {"type": "str", "default": ""},
            "rebuild": {"type": "bool", "default": False},
            "timeout": {"type": "int", "default": 300},
        },
        required_if=[("state", "present", ("kind", "image", "config", "subnet"))],
        supports_check_mode=True,
    )
    p = module.params
    cluster = KindCluster(p["name"], p["kind"] or "", p["image"] or "", p["config"] or "", p["workers"], p["subnet"] or "",
                      Path(p["kubeconfig"]), Path(p["log"]), p["image_source"], p["registry"], p["registry_hosts"])
    try:
        if p["state"] == "absent":
            changed = bool(containers(f"{LABEL}={p['name']}")) or cluster.kubeconfig.exists()
            if changed and not module.check_mode:
                with run_lock.alone(f"cluster {p['name']}", p["timeout"]):
                    cluster.delete()
            module.exit_json(changed=changed)
        # What a killed run started may still be making it.
        with contextlib.nullcontext() if module.check_mode else run_lock.alone(f"cluster {p['name']}", p["timeout"]):
            outcome = cluster.ensure(p["rebuild"], p["timeout"], check=module.check_mode)
    except (KindClusterError, DockerError, CertificateError, run_lock.LockError, OSError) as error:
        module.fail_json(msg=failures.message(error))
    if nodes := [] if module.check_mode else cluster.proxied_nodes():
        module.warn(
            f"BK-254: {', '.join(nodes)} were made with a proxy, which may keep them from the nodes' registry; "
            "bootstrap.yml -e rebuild=true makes them without, and keeps the data"
        )
    if outcome.settings_differ:
        module.warn(f"cluster {p['name']} was made with other settings; bootstrap.yml -e rebuild=true applies them and keeps the data")
    for name in outcome.cordoned:
        module.warn(f"node {name} is cordoned: it takes no new pods, and this run does not change that; `kubectl uncordon {name}` ends it")
    module.exit_json(changed=outcome.changed, created=outcome.created, started=outcome.started, joined=outcome.joined,
                     configured=outcome.configured, settings_differ=outcome.settings_differ, older=outcome.older,
                     tokens_ended=outcome.tokens_ended,
                     cordoned=outcome.cordoned, renewed=outcome.renewed,
                     nodes=[{"kind": "Node", "name": name} for name in (cluster.control_plane(), *cluster.worker_names())])


if __name__ == "__main__":
    main()
