"""Tiny pipelines of every family that can be built offline, as tables of what differs between them.

A row needs no download and gives a pipeline like a saved one: genuine classes, of the smallest sizes that their
signatures admit, with random weights. ``registry.families_by_name()`` has them all.
"""
