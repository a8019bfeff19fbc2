"""Whole pipelines: native weights under genuine diffusers objects.

``folder`` finds what is on disk, ``weights`` loads it natively, ``diffusers_model`` and ``transformers_model`` put it
into modules, ``assembly`` does a whole pipeline, ``facade`` is what the user sees.
"""
