# Copyright: the Bookstore Platform authors
# SPDX-License-Identifier: Apache-2.0
"""Options that every module talking to the cluster shares."""

from __future__ import annotations


class ModuleDocFragment:
    """Documentation of the arguments in module_utils.kubernetes.cluster.CONNECTION_SPEC."""

    DOCUMENTATION = r"""
options:
  kubeconfig:
    description: Kubeconfig file of the cluster.
    type: path
    required: true
  context:
    description: Context within the kubeconfig. Defaults to its current context.
    type: str
  request_timeout:
    description: Seconds that one request to the API server may take.
    type: float
    default: 10.0
requirements:
  - urllib3, PyYAML and websocket-client (the Python client kubernetes brings all three)
"""
