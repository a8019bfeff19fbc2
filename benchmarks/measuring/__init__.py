"""What measures loads to the CPU: fresh processes, the machine's state, fingerprints of what was loaded.

`warpload demo` measures too, so the package has this as `warpload.measuring`: the wheel by pyproject.toml, the tree by
a link. It is imported by that name everywhere. All that it knows of warpload is how to load a pipeline with it.
"""
