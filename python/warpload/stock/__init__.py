"""Everything that we know about the libraries that we stand on, from diffusers down to torch.

``seams`` is the table of their symbols that are replaced, or read although they are not public; ``seam_check`` tells
whether they are there, and ``replacing`` replaces them. ``diffusers`` and ``transformers`` know a library's models
each: arguments, weight files, dtypes, how a model is built and its tensors are placed. ``construction`` and ``attempt``
keep what the libraries do meanwhile to itself; ``unexpected`` is what nobody foresaw.
"""
