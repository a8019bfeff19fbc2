"""Modules that are in memory already, brought to a device through the core.

``modules`` moves tensors, ``pipeline_to`` does what stands for ``pipeline.to``, ``to_device`` is the public call.
"""
