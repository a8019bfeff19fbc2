"""``from_pipe``: another pipeline of the models of one that is there already, and what the two share.

- Models, tokenizers and the scheduler are the same objects in both, as far as the new class takes them, and so are
  their parameters and storages: a weight that is changed in one pipeline is changed in the other, and the second one
  costs no memory.
- Nothing is loaded, so no report is made: ``last_report()`` stays as it was. Where the constructor of the new class
  loads a model by itself, that is a load through the core with a report of its own.
- What is copied is stock's decision. Stock casts the shared modules where they are to the ``dtype`` of the call, which
  is float32 where none is given; tensors of another dtype are copied by that cast, in both pipelines.
- Memory that the first pipeline was loaded into is released with the last tensor that lies in it, whichever pipeline
  has that tensor.
"""

from __future__ import annotations

from typing import Any

from ..stock import replacing


def from_pipe(stock_class: Any, *arguments: Any, **keywords: Any) -> Any:
    """Make a pipeline of another one's models by stock's ``from_pipe``.

    Args:
        stock_class: the class of diffusers: a pipeline, or one of the ``AutoPipelineFor...`` classes.
        arguments: the positional arguments of its ``from_pipe``: the pipeline that has the models.
        keywords: its keyword arguments: a ``dtype``, and components to take instead of those of the pipeline.

    Returns:
        A pipeline of diffusers' own class, which shares the models of the given one.
    """
    with replacing.accelerated():
        return stock_class.from_pipe(*arguments, **keywords)
