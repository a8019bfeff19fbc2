"""Mutated safetensors files and indexes, loaded by the core and by the safetensors package, which have to agree.

``python -m tests.fuzz.files --help`` in the repository's root; ``make fuzz`` runs it with an extension that is built
under AddressSanitizer.

    seeds -> mutations -> cases -> compare -> known differences -> findings
"""
