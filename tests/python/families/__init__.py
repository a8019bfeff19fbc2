"""Tiny pipelines of every family that can be built offline, each with a builder of its own.

A builder takes no arguments, downloads nothing, seeds its weights (``support.models.randomised``) and returns a saved
pipeline's like: genuine classes, the smallest sizes that their signatures admit. ``registry.families()`` has them all.
"""
