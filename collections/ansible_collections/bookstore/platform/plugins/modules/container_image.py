#!/usr/bin/python
# Copyright: the Bookstore Platform authors
# SPDX-License-Identifier: Apache-2.0
"""Build images and offer them to the cluster's nodes."""

from __future__ import annotations

DOCUMENTATION = r"""
---
module: container_image
short_description: Build container images and offer them to the nodes of a kind cluster
version_added: 0.1.0
description:
  - Reads the recipes of all roles, builds what is wanted and not there yet, and publishes it to the
    registry of the nodes, from which each node takes only what it lacks and runs.
  - Two runs may work side by side; each entry is built once, the other run waits for it.
options:
  recipes:
    description: Recipe files; a pattern such as C(roles/*/images/recipes.yml) stands for all that match.
    type: list
    elements: path
    required: true
  wanted:
    description: Names of images or artifacts. What they need is built as well. Empty means all images.
    type: list
    elements: str
    default: []
  source:
    description:
      - V(packages) builds from package registries, V(registry) pulls upstream images where there are any.
      - V(auto) builds every image that has a recipe; one without is pulled if a container registry offers it.
    type: str
    choices: [packages, registry, auto]
    default: auto
  upstream_registry:
    description: Registry, C(host:port), that offers images under their upstream names; empty means the engine's own default.
    type: str
    default: ""
  absent:
    description: Images that no source offered earlier in the same run; a registry is not asked for them again.
    type: list
    elements: str
    default: []
  archives:
    description: Folder of OCI or docker archives named C(<image>.tar); one found there wins over O(source).
    type: path
  cache_dir:
    description: Where artifacts, downloads and compilers are kept.
    type: path
    required: true
  project_dir:
    description: The checkout, to which the sources named in recipes are relative.
    type: path
    required: true
  log_dir:
    description: One log file for each component is written here.
    type: path
    required: true
  ledger:
    description: JSON file that lists each image that was made, where it came from and its digest. It has to outlive the cache.
    type: path
  sboms:
    description: Folder in which the SBOM of each image that is made is kept. It has to outlive the cache.
    type: path
  runs:
    description: Folder in which this process is noted while it works, for whoever removes what it writes.
    type: path
  versions:
    description: The pinned versions; V(go) is the compiler's.
    type: dict
    required: true
  repository:
    description: Prefix of the image references that nodes pull.
    type: str
    default: bookstore.local
  push_address:
    description: Address of the nodes' registry as the engine reaches it.
    type: str
    required: true
  registry:
    description: Container of the nodes' registry, which is given credentials for as long as something is pushed.
    type: str
    required: true
  jobs:
    description: Builds that run side by side. Defaults to the number of processors.
    type: int
  further_tags:
    description: Image name to a list of tags under which nodes find it besides those of its recipe.
    type: dict
    default: {}
  require_registries:
    description: Before anything is built, ask the package registries that the missing ones of all images need.
    type: bool
    default: false
  required:
    description: Images without which nothing is built, each with the reason, which the failure names, that it is needed.
    type: dict
    default: {}
  survey:
    description: Build nothing; return every image and artifact that is there already. Of O(wanted) nothing is used then.
    type: bool
    default: false
  progress_file:
    description: JSON file that tells what is building, for the playbook's output.
    type: path
author: The Bookstore Platform authors (@bookstore)
"""

EXAMPLES = r"""
- name: Build what the node containers need
  bookstore.platform.container_image:
    recipes: ["roles/kind/images/recipes.yml"]
    wanted: [node]
    cache_dir: /var/cache/bookstore
    project_dir: "{{ playbook_dir }}"
    log_dir: /var/cache/bookstore/logs
    versions: {go: 1.27.3}
    push_address: 127.0.0.1:36500
    registry: bookstore-registry
"""

RETURN = r"""
images:
  description: "Image name to the reference that nodes pull, C(<repository>/<name>:<tag>@<digest>); without digest what no node pulls."
  type: dict
  returned: success
artifacts:
  description: Artifact name to its folder on the host.
  type: dict
  returned: success
skipped_images:
  description: Images that no source offers, each with what to provide.
  type: dict
  returned: success
built:
  description: What was built in this run.
  type: list
  returned: success
missing:
  description: What O(survey) did not find of the images and what they need.
  type: list
  returned: success
seconds:
  description: How long each build took, in seconds.
  type: dict
  returned: success
source:
  description: What the cluster is made of, V(packages) or V(registry).
  type: str
  returned: success
sources:
  description: Image to where it comes from, C(packages), C(archive), C(registry) or C(absent).
  type: dict
  returned: with O(survey)
report_lines:
  description: One line for each source. The callback bookstore.platform.progress shows them.
  type: list
  elements: str
  returned: with O(survey)
"""

import os
from pathlib import Path

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.bookstore.platform.plugins.module_utils.base import failures
from ansible_collections.bookstore.platform.plugins.module_utils.images import (
    builders,
    cache,
    engine,
    errors,
    factory,
    ledger,
    recipes,
    runs,
    sources,
)


def main() -> None:
    """Run the module."""
    module = AnsibleModule(
        argument_spec={
            "recipes": {"type": "list", "elements": "path", "required": True},
            "wanted": {"type": "list", "elements": "str", "default": []},
            "source": {"type": "str", "choices": list(factory.SOURCES), "default": "auto"},
            "archives": {"type": "path"},
            "upstream_registry": {"type": "str", "default": ""},
            "absent": {"type": "list", "elements": "str", "default": []},
            "cache_dir": {"type": "path", "required": True},
            "project_dir": {"type": "path", "required": True},
            "log_dir": {"type": "path", "required": True},
            "ledger": {"type": "path"},
            "sboms": {"type": "path"},
            "runs": {"type": "path"},
            "versions": {"type": "dict", "required": True},
            "repository": {"type": "str", "default": "bookstore.local"},
            "push_address": {"type": "str", "required": True},
            "registry": {"type": "str", "required": True},
            "jobs": {"type": "int"},
            "further_tags": {"type": "dict", "default": {}},
            "require_registries": {"type": "bool", "default": False},
            "required": {"type": "dict", "default": {}},
            "survey": {"type": "bool", "default": False},
            "progress_file": {"type": "path"},
        },
        supports_check_mode=True,
    )
    p = module.params
    # What is staged here is read by the images' users, whoever started this playbook.
    os.umask(0o022)
    try:
        catalogue = recipes.load(recipes.find(p["recipes"]))
        context = builders.Context(
            cache=cache.Cache(Path(p["cache_dir"])), project=Path(p["project_dir"]), logs=Path(p["log_dir"]),
            versions={name: str(value) for name, value in p["versions"].items()},
        )
        book = ledger.Ledger(Path(p["ledger"]) if p["ledger"] else None)
        pushes = engine.Engine(p["repository"], p["push_address"], p["registry"], context.cache.root)
        run = factory.Factory(
            catalogue, context, pushes, source=p["source"], ledger=book,
            archives=Path(p["archives"]) if p["archives"] else None, jobs=p["jobs"] or os.cpu_count() or 1,
            progress_file=Path(p["progress_file"]) if p["progress_file"] else None,
            sboms=Path(p["sboms"]) if p["sboms"] else None, further_tags=p["further_tags"],
            upstream_registry=p["upstream_registry"], absent=p["absent"],
        )
        with runs.noted(Path(p["runs"]) if p["runs"] and not module.check_mode else None):
            if p["required"]:
                run.require_images(p["required"])
            if p["require_registries"]:
                run.require_registries(list(catalogue.images))
            result = run.survey() if p["survey"] else run.run(p["wanted"] or list(catalogue.images), check=module.check_mode)
            if not module.check_mode:
                book.add(result.origins)
    except (errors.FactoryError, OSError) as error:
        module.fail_json(msg=failures.message(error))
    for reference in result.replaced:
        module.warn(f"BK-400: the tag of {reference} named something in the nodes' registry that was not pushed; no node runs that")
    told: dict[str, object] = {}
    if p["survey"]:
        stand_ins = {name: image.stand_in for name, image in catalogue.images.items() if image.stand_in}
        told = {"sources": result.sources, "report_lines": sources.lines(result.sources, stand_ins)}
    module.exit_json(
        changed=bool(result.built), images=result.images, artifacts=result.artifacts, skipped_images=result.skipped,
        built=result.built, missing=result.missing, seconds=result.seconds, source=result.source, **told,
    )


if __name__ == "__main__":
    main()
