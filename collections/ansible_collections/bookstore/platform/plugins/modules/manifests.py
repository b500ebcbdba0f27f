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
  - What is no longer declared stays, for the platform's objects carry nothing that says which role they come from.
  - In check mode the server is asked by a dry run. Objects whose namespace or kind the run would make count as changed.
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
    templates: {kafka-kafka.yml: kafka.yml.j2}
"""

RETURN = r"""
updated:
  description: Objects that were created or changed, or files that were written.
  type: list
  returned: success
  sample: [Deployment ecom/ecom-api]
"""

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.bookstore.platform.plugins.module_utils.base import failures
from ansible_collections.bookstore.platform.plugins.module_utils.kubernetes import manifests
from ansible_collections.bookstore.platform.plugins.module_utils.kubernetes.cluster import CONNECTION_SPEC, Cluster, ClusterError


def main() -> None:
    """Run the module."""
    module = AnsibleModule(
        argument_spec={
            # The action renders them, and hands the texts over as documents.
            "templates": {"type": "dict"},
            "documents": {"type": "dict"},
            "field_manager": {"type": "str", "required": True},
            "render_dir": {"type": "path"},
            **CONNECTION_SPEC,
            "kubeconfig": {"type": "path"},
            "request_timeout": {"type": "float", "default": 30.0},
        },
        required_one_of=[("kubeconfig", "render_dir"), ("templates", "documents")],
        supports_check_mode=True,
    )
    p = module.params
    changes: list[manifests.Change] = []
    try:
        texts = {name: str(text) for name, text in (p["documents"] or {}).items()}
        parsed = [manifest for name, text in texts.items() for manifest in manifests.parse(name, text)]
        if p["render_dir"]:
            updated = manifests.write(p["render_dir"], texts, module.check_mode)
        else:
            # One by one, so that a failure tells what was changed before it.
            for change in manifests.apply(Cluster.of(p), parsed, p["field_manager"], module.check_mode):
                changes.append(change)
            updated = [str(change.manifest) for change in changes]
    except (ClusterError, ValueError, OSError) as error:
        done = [str(change.manifest) for change in changes]
        module.fail_json(msg=failures.message(error), changed=bool(done) and not module.check_mode, updated=done)
    module.exit_json(
        changed=bool(updated), updated=updated, **({"diff": manifests.difference(changes)} if module._diff and changes else {})
    )


if __name__ == "__main__":
    main()
