#!/usr/bin/python
# Copyright: the Bookstore Platform authors
# SPDX-License-Identifier: Apache-2.0
"""Apply what a role's templates render."""

from __future__ import annotations

DOCUMENTATION = r"""
---
module: manifests
short_description: Apply what a role's templates render
version_added: 0.1.0
description:
  - Renders templates, applies each object by server-side apply with a field manager, which takes over fields that others changed,
    and reports a change when an object is another one than before. Objects of one kind that follow one another go side by side.
  - With O(set), objects that the set had applied and that are no longer declared are deleted after everything was applied. The ConfigMap
    C(kube-system/bookstore-applied-<set>) records what a set applied. Without O(set), what is no longer declared stays.
  - Namespaces, PersistentVolumes, PersistentVolumeClaims, CustomResourceDefinitions and Secrets are never deleted. Nor is an object that
    another one owns, or that another field manager applied too. A warning names what stays.
  - Where no record is yet, NetworkPolicies, AuthorizationPolicies, PeerAuthentications and RequestAuthentications are found by their field
    manager; other objects that were no longer declared before then stay.
  - In check mode the server is asked by a dry run, and nothing is deleted. Objects whose namespace or kind the run would make count as
    changed.
options:
  templates:
    description:
      - The templates, found and rendered as M(ansible.builtin.template) does, in the order in which they are applied. Each key is the
        name of the file that O(render_dir) gets.
    type: dict
  documents:
    description: Further manifests as texts of YAML, after those of O(templates). Each key is the name of the file.
    type: dict
  field_manager:
    description: Name under which the server keeps what is declared here.
    type: str
    required: true
  set:
    description:
      - Name of the set, the role's. The manifests of the call are the whole of it, and no other call of O(field_manager) has a set or
        applies policies.
    type: str
  known_sets:
    description: Delete also the objects of all recorded sets that are not named here, whose roles are gone. The list must not be empty.
    type: list
    elements: str
  render_dir:
    description: Write the rendered files into this folder instead of applying them. No cluster is needed.
    type: path
  kubeconfig:
    description: Kubeconfig file of the cluster. Needed without O(render_dir).
    type: path
  context:
    description: Context within the kubeconfig. Defaults to its current context.
    type: str
  request_timeout:
    description: Seconds that one request to the API server may take.
    type: float
    default: 30.0
author: The Bookstore Platform authors (@bookstore)
"""

EXAMPLES = r"""
- name: Apply the broker
  bookstore.platform.manifests:
    kubeconfig: "{{ bookstore_kubeconfig }}"
    field_manager: bookstore-kafka
    set: kafka
    templates: {kafka-kafka.yml: kafka.yml.j2}

- name: Delete what roles applied that are gone
  bookstore.platform.manifests:
    kubeconfig: "{{ bookstore_kubeconfig }}"
    field_manager: bookstore
    known_sets: [kafka, redis]
"""

RETURN = r"""
updated:
  description: Objects that were created or changed, the first record of a set too, or files that were written.
  type: list
  returned: success
  sample: [Deployment ecom/ecom-api]
pruned:
  description: Objects that were deleted, or would be in check mode.
  type: list
  returned: success
  sample: [PeerAuthentication analytics/old]
report_lines:
  description: The same for the playbook's output.
  type: list
  returned: when something is pruned
"""

from typing import Any

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.bookstore.platform.plugins.module_utils.base import failures
from ansible_collections.bookstore.platform.plugins.module_utils.kubernetes import manifests, pruning
from ansible_collections.bookstore.platform.plugins.module_utils.kubernetes.cluster import CONNECTION_SPEC, Cluster, ClusterError
from ansible_collections.bookstore.platform.plugins.module_utils.kubernetes.manifests import ManifestError


def main() -> None:
    """Run the module."""
    module = AnsibleModule(
        argument_spec={
            # The action renders them, and hands the texts over as documents.
            "templates": {"type": "dict"},
            "documents": {"type": "dict"},
            "field_manager": {"type": "str", "required": True},
            "set": {"type": "str"},
            "known_sets": {"type": "list", "elements": "str"},
            "render_dir": {"type": "path"},
            **CONNECTION_SPEC,
            "kubeconfig": {"type": "path"},
            "request_timeout": {"type": "float", "default": 30.0},
        },
        required_one_of=[("kubeconfig", "render_dir"), ("templates", "documents", "known_sets")],
        supports_check_mode=True,
    )
    p = module.params
    changes: list[manifests.Change] = []
    records: list[str] = []
    pruned: list[str] = []
    sets: list[pruning.Pruning] = []
    files: list[str] = []

    def result() -> dict[str, Any]:
        updated = [*files, *(str(change.manifest) for change in changes), *records]
        lines = [f"{'would delete' if module.check_mode else 'deleted'} {name}" for name in pruned]
        return {"updated": updated, "pruned": pruned, "changed": bool(updated or pruned), **({"report_lines": lines} if lines else {})}

    try:
        texts = {name: str(text) for name, text in (p["documents"] or {}).items()}
        parsed = [manifest for name, text in texts.items() for manifest in manifests.parse(name, text)]
        if p["render_dir"]:
            files = manifests.write(p["render_dir"], texts, module.check_mode)
        else:
            cluster = Cluster.of(p)
            if p["set"]:
                if not parsed:
                    raise ManifestError(f"BK-444: set={p['set']} has no object, and all that it had would be deleted; see its templates")
                sets.append(pruning.Pruning(cluster, p["set"], p["field_manager"], parsed, module.check_mode))
                if sets[0].begin():
                    records.append(f"ConfigMap {pruning.NAMESPACE}/{pruning.record_name(p['set'])}")
            # One by one, so that a failure tells what was changed before it.
            for change in manifests.apply(cluster, parsed, p["field_manager"], module.check_mode):
                changes.append(change)
            gone = [] if p["known_sets"] is None else pruning.abandoned(cluster, p["known_sets"], module.check_mode)
            for each in gone:
                each.begin()
            sets += gone
            for each in sets:
                for manifest in each.finish():
                    pruned.append(str(manifest))
            for each in gone:
                each.forget()
    except (ClusterError, ValueError, OSError) as error:
        told = result()
        module.fail_json(msg=failures.message(error), **{**told, "changed": told["changed"] and not module.check_mode})
    for line in [line for each in sets for line in each.left]:
        module.warn(line)
    module.exit_json(**result(), **({"diff": manifests.difference(changes)} if module._diff and changes else {}))


if __name__ == "__main__":
    main()
