# Copyright: the Bookstore Platform authors
# SPDX-License-Identifier: Apache-2.0
"""Renders the templates of a task with the module manifests, where the role's variables are known."""

from __future__ import annotations

import os
from typing import Any

from ansible.errors import AnsibleActionFail
from ansible.template import generate_ansible_template_vars, trust_as_template

from ansible_collections.bookstore.platform.plugins.action.in_process import ActionModule as InProcess


class ActionModule(InProcess):
    """Hands rendered texts to the module, which is started as the others are."""

    def run(self, tmp: Any = None, task_vars: dict[str, Any] | None = None) -> Any:
        """Render, then run the module."""
        variables = task_vars or {}
        templates = self._task.args.pop("templates", None) or {}
        if not isinstance(templates, dict):
            raise AnsibleActionFail("BK-430: templates must be a mapping from a rendered file's name to a template")
        texts = {name: self._render(str(template), variables) for name, template in templates.items()}
        if texts:
            self._task.args["documents"] = {**texts, **(self._task.args.get("documents") or {})}
        return super().run(tmp, task_vars)

    def _render(self, template: str, variables: dict[str, Any]) -> str:
        source = self._find_needle("templates", template)
        text = self._loader.get_text_file_contents(source)
        places = [*variables.get("ansible_search_path", []), self._loader.get_basedir(), os.path.dirname(source)]
        searched = [place for each in places for place in (os.path.join(each, "templates"), each)]
        known = {**variables, **generate_ansible_template_vars(path=template, fullpath=source)}
        templar = self._templar.copy_with_new_env(searchpath=searched, available_variables=known)
        # As ansible.builtin.template does by default.
        overrides = {"trim_blocks": True, "lstrip_blocks": False, "newline_sequence": "\n"}
        rendered = templar.template(trust_as_template(text), escape_backslashes=False, overrides=overrides)
        return "" if rendered is None else str(rendered)
