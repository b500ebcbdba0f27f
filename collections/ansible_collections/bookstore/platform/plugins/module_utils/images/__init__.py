"""Builds the platform's container images from package registries.

A recipe file names *artifacts* (things staged on the host by the ordinary clients of the
package registries) and *images* (a Containerfile plus the artifacts that it copies).
Everything is cached by the hash of its inputs; see :mod:`factory` for the entry point.
"""
