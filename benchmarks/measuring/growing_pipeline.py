"""A pipeline that has as many models as one asks for: what does one more component cost a load?

No published pipeline has one form with one component and with eight. This one is a genuine subclass of diffusers'
DiffusionPipeline, of the kind that users write.
"""

from __future__ import annotations

import inspect
from typing import Any


def component_name(number: int) -> str:
    """Return the name of a component of the pipeline, from 0."""
    return f"model_{number}"


def growing_pipeline(count: int) -> Any:
    """Return a pipeline class with that many components."""
    from diffusers import DiffusionPipeline

    def initialize(self: Any, **models: Any) -> None:
        DiffusionPipeline.__init__(self)
        self.register_modules(**models)

    # diffusers reads off the constructor's parameters which components there are.
    kind = inspect.Parameter.POSITIONAL_OR_KEYWORD
    names = ["self", *(component_name(number) for number in range(count))]
    vars(initialize)["__signature__"] = inspect.Signature([inspect.Parameter(name, kind) for name in names])
    return type("GrowingPipeline", (DiffusionPipeline,), {"__init__": initialize})
