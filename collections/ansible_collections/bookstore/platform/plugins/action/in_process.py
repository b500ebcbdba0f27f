# Copyright: the Bookstore Platform authors
# SPDX-License-Identifier: Apache-2.0
"""Runs a module of this collection in a fork of Ansible's worker instead of in a new Python.

The usual way packs a module into an archive (AnsiballZ) and starts an interpreter that unpacks and imports it: one to two seconds
for each task, for a module that then asks the API server one question. A fork has everything imported already. Arguments, check mode,
no_log, diff, environment, results and errors pass through the same code as in the usual way: only how the module is started differs.
meta/runtime.yml names this plugin as the one that runs each module.
"""

from __future__ import annotations

import json
import os
import sys
from types import SimpleNamespace
from typing import Any

from ansible import constants
from ansible.module_utils.common.json import Direction, get_module_encoder
from ansible.plugins.action.normal import ActionModule as UsualAction

from ansible_collections.bookstore.platform.plugins.plugin_utils import forked_module

# What ansible-core gives modules that declare nothing else.
PROFILE = "legacy"


class ActionModule(UsualAction):  # type: ignore[misc]  # Ansible has no types
    """The usual action, with three steps of its module execution replaced."""

    def run(self, tmp: Any = None, task_vars: dict[str, Any] | None = None) -> Any:
        """Run the module here where that is the same, and in the usual way where it is not."""
        self._direct = self._runs_here(task_vars or {})
        if self._direct:
            forked_module.end_with_playbook()
        return super().run(tmp, task_vars)

    def _runs_here(self, task_vars: dict[str, Any]) -> bool:
        if self._task.async_val or self._task.delegate_to or self._connection.become or self._connection.transport != "local":
            return False
        # Kept archives are for whoever wants to look into one.
        if constants.DEFAULT_KEEP_REMOTE_FILES:
            return False
        interpreter = self._templar.template(task_vars.get("ansible_python_interpreter"))
        return bool(interpreter == sys.executable)

    def _is_pipelining_enabled(self, module_style: str, wrap_async: bool = False) -> bool:
        # Then no temporary folder is made, and the third step gets what the second returns.
        return self._direct or bool(super()._is_pipelining_enabled(module_style, wrap_async))

    def _configure_module(self, module_name: str, module_args: dict[str, Any], task_vars: dict[str, Any]) -> Any:
        if not self._direct:
            return super()._configure_module(module_name=module_name, module_args=module_args, task_vars=task_vars)
        found = self._shared_loader_obj.module_loader.find_plugin_with_context(module_name, collection_list=self._task.collections)
        environment: dict[str, Any] = {}
        self._compute_environment_string(environment)
        arguments = json.dumps({"ANSIBLE_MODULE_ARGS": module_args}, cls=get_module_encoder(PROFILE, Direction.CONTROLLER_TO_MODULE))
        self._call = forked_module.Call(
            name=".".join(["ansible_collections", *found.plugin_resolved_collection.split("."), "plugins.modules",
                           os.path.basename(found.plugin_resolved_path).removesuffix(".py")]),
            path=found.plugin_resolved_path,
            arguments=arguments.encode(),
            profile=PROFILE,
            environment={name: str(value) for name, value in environment.items()},
            folder=self._loader.get_basedir(),
        )
        built = SimpleNamespace(module_style="new", shebang=f"#!{sys.executable}", b_module_data=b"", serialization_profile=PROFILE)
        return built, found.plugin_resolved_path

    def _low_level_execute_command(self, *arguments: Any, **options: Any) -> Any:
        if not self._direct:
            return super()._low_level_execute_command(*arguments, **options)
        code, out, err = forked_module.run(self._call)
        return {"rc": code, "stdout": out, "stdout_lines": out.splitlines(), "stderr": err, "stderr_lines": err.splitlines()}
