"""Whole pipelines: native weights under genuine diffusers objects.

``folder`` reads what is on disk, ``snapshot`` and ``completeness`` what the Hub's cache has, ``early_start`` says which
bytes move at once, ``device_map`` where each component goes, ``pipeline_load`` does it all around stock's own code.
``from_pipe`` says what a pipeline that is made of another one shares with it.
"""
