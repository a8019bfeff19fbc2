"""The imports that are put off while our facade has the libraries imported. One table; ``deferring`` does it.

A line is used only by a module that asks as the table knows it, in its own code (``Deferral.words``); in a version that
asks otherwise the module is imported at once, as without us.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from fnmatch import fnmatchcase


@dataclass(frozen=True)
class Deferral:
    """Modules that are put off.

    Attributes:
        modules: their names; the first contains the others.
        askers: patterns of the names of the modules for whose imports they are; for others they are imported at once.
        words: what the code that asks has to name.
        names: what the askers take out of them while they are imported, and what kind of thing each is; see
            ``stand_in.KINDS``. A "module" is put off like the others.
        asked: those of the names that some of the askers get later, too, as they keep them to themselves.
        below: who may import which parts of the first module that do without it.
        saved: processor milliseconds: what the modules take when they come after a load of SDXL, with the collector off
            (torch 2.13, transformers 5.23, Python 3.11; scikit-learn and torchvision with 2.11, 5.17, 3.12).
        why: what they are for, so that nobody misses them.
    """

    modules: tuple[str, ...]
    askers: tuple[str, ...]
    saved: int
    why: str
    words: tuple[str, ...] = ()
    names: Mapping[str, str] = field(default_factory=dict)
    asked: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    below: Mapping[str, tuple[str, ...]] = field(default_factory=dict)

    def is_asker(self, name: str) -> bool:
        """Tell whether a module is one of the askers."""
        return any(fnmatchcase(name, pattern) for pattern in self.askers)


_LOSSES = ("transformers.loss.loss_*",)
_SCHEDULERS = ("diffusers.schedulers.scheduling_*",)

DEFERRALS: tuple[Deferral, ...] = (
    Deferral(
        ("torch._dynamo",),
        (
            "accelerate.utils.other",
            "diffusers.utils.torch_utils",
            "torch._compile",
            "torch.compiler",
            "transformers.integrations.*",
        ),
        350,
        "only torch.compile needs to know what it may leave as it is; it imports this first",
        words=("torch._dynamo", "allow_in_graph"),
        names={
            "torch._dynamo.allow_in_graph": "registering",
            "torch._dynamo.assume_constant_result": "registering",
            "torch._dynamo.disable": "wrapping",
            "torch._dynamo.eval_frame.OptimizedModule": "class",
        },
        asked={
            "torch._dynamo.disable": ("torch._compile",),
            "torch._dynamo.eval_frame.OptimizedModule": ("accelerate.utils.other", "diffusers.utils.torch_utils"),
        },
        below={
            "torch._dynamo._trace_wrapped_higher_order_op": (
                "transformers.masking_utils",
                "torch.nn.attention.flex_attention",
            )
        },
    ),
    Deferral(
        ("torch._dynamo", "torch._dynamo.utils"),
        ("torchvision.ops.*",),
        350,
        "asks at a call whether torch.compile is there",
        words=("torch._dynamo.utils", "is_compile_supported"),
        names={"torch._dynamo.utils.is_compile_supported": "function"},
    ),
    Deferral(
        ("scipy", "scipy.optimize"),
        _LOSSES,
        270,
        "matches boxes to objects in the losses of detectors",
        words=("scipy.optimize", "linear_sum_assignment"),
        names={"scipy.optimize.linear_sum_assignment": "function"},
    ),
    Deferral(
        ("scipy", "scipy.stats"),
        _SCHEDULERS,
        530,
        "beta sigmas and the coefficients of LMS, which a scheduler computes when it is told to",
        words=("scipy.stats",),
        names={"scipy.integrate": "module"},
    ),
    Deferral(("scipy.integrate",), _SCHEDULERS, 330, "the same", words=("integrate",)),
    Deferral(
        ("sklearn", "sklearn.metrics"),
        ("transformers.generation.candidate_generator",),
        950,
        "adapts a threshold of assisted generation",
        words=("sklearn.metrics", "roc_curve"),
        names={"sklearn.metrics.roc_curve": "function"},
    ),
    Deferral(
        ("peft", "peft.helpers", "peft.tuners", "peft.tuners.tuners_utils"),
        (
            "diffusers.hooks.layerwise_casting",
            "diffusers.loaders.lora_base",
            "diffusers.pipelines.pipeline_loading_utils",
            "diffusers.utils.peft_utils",
        ),
        150,
        "adapters, of which there are none before one is loaded",
        words=("is_peft_available",),
        names={
            "peft.PeftModel": "class",
            "peft.helpers.disable_input_dtype_casting": "function",
            "peft.tuners.tuners_utils.BaseTunerLayer": "class",
        },
        asked={
            "peft.PeftModel": ("diffusers.pipelines.pipeline_loading_utils",),
            "peft.tuners.tuners_utils.BaseTunerLayer": ("diffusers.utils.peft_utils",),
        },
    ),
    Deferral(
        ("torchvision.datasets",),
        ("torchvision",),
        40,
        "loads data sets",
        words=("datasets",),
    ),
    Deferral(("torchvision.models",), ("torchvision",), 60, "models of torchvision's own", words=("models",)),
    Deferral(
        ("onnxruntime",),
        ("diffusers.pipelines.onnx_utils",),
        30,
        "runs models in ONNX's format",
        words=("onnxruntime",),
    ),
    Deferral(
        ("torchsde",),
        ("diffusers.schedulers.scheduling_dpmsolver_sde",),
        12,
        "draws the noise of one scheduler",
        words=("torchsde",),
    ),
    Deferral(
        ("requests",),
        (
            "diffusers.loaders.single_file_utils",
            "diffusers.pipelines.pipeline_utils",
            "diffusers.utils.loading_utils",
            "diffusers.utils.remote_utils",
        ),
        35,
        "fetches images and configurations by their address",
        words=("requests",),
    ),
)
