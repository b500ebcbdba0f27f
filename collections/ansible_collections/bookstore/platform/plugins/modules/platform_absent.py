#!/usr/bin/python
# Copyright: the Bookstore Platform authors
# SPDX-License-Identifier: Apache-2.0
"""Remove builds, folders and images of the platform."""

from __future__ import annotations

DOCUMENTATION = r"""
---
module: platform_absent
short_description: Remove builds, folders and images of the platform
version_added: 0.1.0
description:
  - Ends builds that still run, then removes folders, then images of the engine; each only if asked for.
  - What other users own in a folder (data of pods) is removed by root in a container, so this user need not be root.
options:
  builds:
    description: Folder in which the image factory notes its processes; they are ended.
    type: path
  folders:
    description: Folders to remove, with all that is in them.
    type: list
    elements: path
    default: []
  kept:
    description: Folders that must not lie in any of O(folders), beside this user's home.
    type: list
    elements: path
    default: []
  repositories:
    description: Repositories in the engine. Their images are a means to remove O(folders), and removed with O(images).
    type: list
    elements: str
    default: []
  images:
    description: Remove all images of O(repositories).
    type: bool
    default: false
  engine:
    description: Whether an engine answers. Without one there are no images.
    type: bool
    default: true
author: The Bookstore Platform authors (@bookstore)
"""

EXAMPLES = r"""
- name: Remove the data
  bookstore.platform.platform_absent:
    folders: ["{{ bookstore_data_dir }}"]
    repositories: [bookstore.local]
"""

RETURN = r"""
removed:
  description: What was removed or ended.
  type: list
  returned: success
"""

from pathlib import Path

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.bookstore.platform.plugins.module_utils.base import failures
from ansible_collections.bookstore.platform.plugins.module_utils.engine import engine_images
from ansible_collections.bookstore.platform.plugins.module_utils.engine.docker import DockerError
from ansible_collections.bookstore.platform.plugins.module_utils.host import folders
from ansible_collections.bookstore.platform.plugins.module_utils.images import errors, runs


def main() -> None:
    """Run the module."""
    module = AnsibleModule(
        argument_spec={
            "builds": {"type": "path"},
            "folders": {"type": "list", "elements": "path", "default": []},
            "kept": {"type": "list", "elements": "path", "default": []},
            "repositories": {"type": "list", "elements": "str", "default": []},
            "images": {"type": "bool", "default": False},
            "engine": {"type": "bool", "default": True},
        },
        supports_check_mode=True,
    )
    p = module.params
    paths, kept = [Path(path) for path in p["folders"]], [Path.home(), *(Path(path) for path in p["kept"])]
    removed: list[str] = []
    try:
        for path in paths:
            folders.refuse_foreign(path, kept)
        if p["builds"]:
            pids = runs.running(Path(p["builds"])) if module.check_mode else runs.end(Path(p["builds"]))
            removed += [f"build {pid}" for pid in pids]
        images = engine_images.listed(p["repositories"]) if p["engine"] else []
        for path in paths:
            if path.is_dir() if module.check_mode else folders.remove(path, kept, engine_images.tool_image(images)):
                removed.append(str(path))
        if p["images"] and images:
            removed += images
            if not module.check_mode:
                engine_images.remove(images)
    except (DockerError, errors.FactoryError, folders.FolderError, OSError) as error:
        module.fail_json(msg=failures.message(error))
    module.exit_json(changed=bool(removed), removed=removed)


if __name__ == "__main__":
    main()
