"""The seams: every symbol of the libraries under us that we replace, or read although it is not public. One table.

``seam_check`` checks them and ``replacing`` replaces them.
"""

from __future__ import annotations

from dataclasses import dataclass
from types import ModuleType
from typing import Any

# Feature -> what becomes of it where one of its seams is missing.
FEATURES = {
    "pipelines": "stock puts pipelines together, and each of their models is loaded by itself",
    "diffusers models": "stock places the tensors of diffusers' models",
    "transformers models": "stock places the tensors of transformers' models",
    "files for stock": "stock reads the safetensors files of what it places itself",
    "moving": "torch moves the tensors in pipeline.to",
    "cache": "the Hub is asked wherever stock asks it",
    "single files": "single files are loaded by stock",
    "converted files": "stock casts and places the tensors of single files",
    "GGUF files": "stock reads GGUF files",
    "adapters": "loads of adapters have no report, and outside of a block for loads are stock's",
    "modular pipelines": "the components of a modular pipeline are loaded and reported one by one",
    "generating models": "stock places the tensors of transformers' models that generate",
    "construction": "models that other threads construct meanwhile are not protected from each other",
    "repetitions": "what a model has many times is built anew each time",
    "adapter layers": "each layer of an adapter is built anew",
    "warm-up": "transformers reserves memory that tensors of the arena do not need",
    "modes": "stock loads everything, as nobody can tell which modes of torch see its operations",
    "messages": "where the core loads, some of stock's messages name no file, or are said once more",
    "bars": "the libraries' bars are shown beside the load's own",
    "names": "diffusers is imported before the first byte moves, as only it knows its names",
}


@dataclass(frozen=True, eq=False)  # each is in the table once, and looked up by the hundred in a load
class Seam:
    """One symbol.

    Attributes:
        module: the module that it is looked up in.
        name: its name there: ``"function"``, ``"Class.method"``, or ``"*.method"`` for each class of the module's own
            that has the method.
        feature: what needs it, from ``FEATURES``.
        also: what else does.
        why: what it is replaced or read for.
        parameters: of the function, those that we give it or read from its calls.
        mentions: what the function's code has to name: attributes that it gives to objects, words that it writes.
        by: ``"module:function"`` below this package that is called instead; empty where it is only read.
        always: whether the replacement is called whoever asks, and not only in loads that are to go through the core;
            it then decides by what it is given.
        optional: whether versions of the library without it do without what we do there.
        held: the holders for each of whom it stays replaced; see ``replacing``.
    """

    module: str
    name: str
    feature: str
    why: str
    parameters: tuple[str, ...] = ()
    mentions: tuple[str, ...] = ()
    also: tuple[str, ...] = ()
    by: str = ""
    always: bool = False
    optional: bool = False
    held: tuple[str, ...] = ("loads",)

    def __str__(self) -> str:
        return f"{self.module}.{self.name}"

    @property
    def library(self) -> str:
        """The library that it belongs to."""
        return self.module.partition(".")[0]

    @property
    def features(self) -> tuple[str, ...]:
        """All that needs it."""
        return (self.feature, *self.also)

    @property
    def attribute(self) -> str:
        """The last part of its name."""
        return self.name.rpartition(".")[2]

    def owners(self, module: ModuleType) -> list[Any]:
        """Return the module or the classes that have the symbol: nobody, where it is missing."""
        path, _, attribute = self.name.rpartition(".")
        found: list[Any] = [module]
        if path == "*":
            found = [each for each in vars(module).values() if isinstance(each, type)]
            found = [each for each in found if each.__module__ == module.__name__]
        elif path:
            found = [getattr(module, path, None)]
        if self.by:  # what a class inherits is replaced in its base
            return [each for each in found if each is not None and vars(each).get(attribute) is not None]
        return [each for each in found if each is not None and hasattr(each, attribute)]


def _adapter(module: str, *names: str, by: str = "load_adapter") -> tuple[Seam, ...]:
    why = "one report for all files of an adapter, whichever methods call each other; for models of ours at any time"
    return tuple(
        Seam(
            module,
            f"*.{name}",
            "adapters",
            why,
            by=f"models.adapters:{by}",
            always=True,
            optional=True,
            held=("loads", "models alive"),
        )
        for name in names
    )


_SINGLE_FILE = "a report of its own, and models that stock converts read by the core"
_BEGINS = "stock's own builds wait their turn from here on, as what it does next counts for all threads"

SEAMS: tuple[Seam, ...] = (
    # -- a pipeline ----------------------------------------------------------------------------------------------------
    Seam(
        "diffusers.pipelines.pipeline_utils",
        "DiffusionPipeline.from_pretrained",
        "pipelines",
        "the bytes of all components begin at once, and their models find them",
        parameters=("pretrained_model_name_or_path",),
        by="pipelines.pipeline_load:from_pretrained",
    ),
    Seam(
        "diffusers.pipelines.pipeline_utils",
        "DiffusionPipeline.register_modules",
        "pipelines",
        "the pipeline's own code must not see weights whose bytes are still under way",
        by="pipelines.pipeline_load:register_modules",
    ),
    Seam(
        "diffusers.pipelines.pipeline_loading_utils",
        "_get_pipeline_class",
        "pipelines",
        "an optional component that the caller gives is ignored unless the pipeline's own class is called",
        parameters=("class_obj", "config"),
    ),
    Seam(
        "diffusers.pipelines.pipeline_utils",
        "DiffusionPipeline._optional_components",
        "pipelines",
        "names these components",
    ),
    Seam(
        "huggingface_hub.constants",
        "HF_HUB_CACHE",
        "cache",
        "where the cache is",
    ),
    Seam(
        "huggingface_hub.constants",
        "is_offline_mode",
        "cache",
        "whether the Hub may be asked at all",
    ),
    Seam(
        "huggingface_hub.file_download",
        "try_to_load_from_cache",
        "cache",
        "what the cache's folders are called",
        mentions=("refs", "snapshots", ".no_exist"),
    ),
    Seam(
        "huggingface_hub._tree_cache",
        "write_tree_cache",
        "cache",
        "how a listing is written; without one the files themselves are judged by",
        mentions=("format_version", "files"),
        optional=True,
    ),
    *(
        Seam(
            f"{library}.utils.logging",
            "_tqdm_cls.__call__",
            "bars",
            "of a load that may show a bar of its own, the library shows none beside it",
            by="stock.own_bars:make",
            optional=True,
        )
        for library in ("diffusers", "transformers")
    ),
    # -- models --------------------------------------------------------------------------------------------------------
    Seam(
        "diffusers.models.modeling_utils",
        "ModelMixin.from_pretrained",
        "diffusers models",
        "the core loads the model",
        parameters=("pretrained_model_name_or_path",),
        by="models.model_load:diffusers_from_pretrained",
    ),
    Seam(
        "diffusers.models.modeling_utils",
        "ModelMixin._load_pretrained_model",
        "diffusers models",
        "a class with its own version is stock's to load",
    ),
    Seam(
        "diffusers.models.modeling_utils",
        "ModelMixin._fix_state_dict_keys_on_load",
        "diffusers models",
        "names the keys of old checkpoints as the class does",
        parameters=("state_dict",),
    ),
    Seam(
        "diffusers.models.modeling_utils",
        "ModelMixin._keys_to_ignore_on_load_unexpected",
        "diffusers models",
        "which keys of a file a class does without",
    ),
    Seam(
        "diffusers.models.modeling_utils",
        "ModelMixin._keep_in_fp32_modules",
        "diffusers models",
        "which tensors stay in float32",
    ),
    Seam(
        "diffusers.configuration_utils",
        "LegacyConfigMixin",
        "diffusers models",
        "its from_config leads to ConfigMixin's, for classes that stand for several",
    ),
    Seam(
        "diffusers.configuration_utils",
        "ConfigMixin.from_config",
        "diffusers models",
        "stock goes on with a model that the core has built already; others are built one at a time",
        parameters=("config",),
        by="stock.construction:from_config",
    ),
    Seam(
        "transformers.modeling_utils",
        "PreTrainedModel.from_pretrained",
        "transformers models",
        "the core loads the model, and gives this function its tensors",
        parameters=("pretrained_model_name_or_path", "state_dict", "output_loading_info", "config"),
        by="models.model_load:transformers_from_pretrained",
    ),
    Seam(
        "transformers.modeling_utils",
        "PreTrainedModel._load_pretrained_model",
        "transformers models",
        "a class with its own version is stock's to load",
    ),
    Seam(
        "transformers.modeling_utils",
        "PreTrainedModel._keep_in_fp32_modules",
        "transformers models",
        "which tensors stay in float32 where all else is float16",
    ),
    Seam(
        "transformers.modeling_utils",
        "PreTrainedModel._keep_in_fp32_modules_strict",
        "transformers models",
        "which tensors stay in float32 in bfloat16, too",
        optional=True,
    ),
    Seam(
        "transformers.modeling_utils",
        "is_deepspeed_zero3_enabled",
        "transformers models",
        "each process is to have a part of the weights",
    ),
    Seam(
        "transformers.modeling_utils",
        "is_fsdp_enabled",
        "transformers models",
        "each process is to have a part of the weights",
    ),
    Seam(
        "transformers.generation.utils",
        "GenerationMixin.adjust_generation_fn",
        "generating models",
        "reads the settings for generation, which from_pretrained of a state dict does not",
        parameters=(
            *("generation_config", "from_auto_class", "from_pipeline", "pretrained_model_name_or_path", "cache_dir"),
            *("force_download", "proxies", "local_files_only", "token", "revision", "subfolder", "trust_remote_code"),
        ),
    ),
    Seam(
        "transformers.modeling_utils",
        "caching_allocator_warmup",
        "warm-up",
        "the memory that it takes for the tensors would lie beside the arena, which has them already",
        by="stock.warmup:caching_allocator_warmup",
        optional=True,
    ),
    # -- files for stock -----------------------------------------------------------------------------------------------
    Seam(
        "safetensors.torch",
        "load_file",
        "files for stock",
        "the core reads the files of diffusers' models and adapters that stock places",
        parameters=("filename", "device"),
        by="models.reader:load_file",
        always=True,
    ),
    Seam(
        "transformers.modeling_utils",
        "safe_open",
        "files for stock",
        "the core reads the files of transformers' models that stock places; looked up in this module",
        by="models.reader:safe_open",
        always=True,
    ),
    Seam(
        "diffusers.loaders.ip_adapter",
        "safe_open",
        "files for stock",
        "the core reads IP adapters; looked up in this module",
        by="models.reader:safe_open",
        always=True,
    ),
    Seam(
        "peft.utils.save_and_load",
        "safe_load_file",
        "files for stock",
        "the core reads the adapters that peft loads; looked up in this module",
        by="models.reader:load_file",
        always=True,
        optional=True,
    ),
    Seam(
        "diffusers.loaders.single_file",
        "FromSingleFileMixin.from_single_file",
        "single files",
        _SINGLE_FILE,
        by="models.single_file:from_single_file",
    ),
    Seam(
        "diffusers.loaders.single_file_model",
        "FromOriginalModelMixin.from_single_file",
        "single files",
        _SINGLE_FILE,
        by="models.single_file:from_single_file",
    ),
    Seam(
        "diffusers.loaders.single_file_utils",
        "load_state_dict",
        "converted files",
        "what stock converts knows where it is from",
        parameters=("checkpoint_file", "disable_mmap"),
        by="models.single_file:load_state_dict",
    ),
    *(
        Seam(
            f"diffusers.loaders.{module}",
            "load_model_dict_into_meta",
            "converted files",
            "the core casts and places what stock has converted; looked up in this module",
            parameters=("model", "state_dict", "dtype", "hf_quantizer", "keep_in_fp32_modules", "device_map"),
            by="models.single_file:load_model_dict_into_meta",
        )
        for module in ("single_file_model", "single_file_utils")
    ),
    Seam(
        "torch._C",
        "DisableTorchFunctionSubclass",
        "converted files",
        "tensors that know where they are from call torch's own functions",
    ),
    Seam(
        "diffusers.models.model_loading_utils",
        "load_gguf_checkpoint",
        "GGUF files",
        "the core reads the GGUF files of models that stock converts",
        parameters=("gguf_checkpoint_path",),
        by="models.reader:load_gguf_checkpoint",
        always=True,
    ),
    Seam(
        "diffusers.quantizers.gguf.utils",
        "GGUFParameter",
        "GGUF files",
        "the class of quantised tensors, which takes bytes and the type of their blocks",
        parameters=("data", "quant_type"),
    ),
    Seam(
        "diffusers.quantizers.gguf.utils",
        "SUPPORTED_GGUF_QUANT_TYPES",
        "GGUF files",
        "the types of blocks that it takes",
    ),
    Seam(
        "transformers.modeling_gguf_pytorch_utils",
        "load_gguf_checkpoint",
        "GGUF files",
        "the core dequantises the tensors of a gguf_file",
        mentions=("dequantize",),
        by="models.reader:load_gguf_by_transformers",
        optional=True,
    ),
    *_adapter("diffusers.loaders.ip_adapter", "load_ip_adapter"),
    *_adapter("diffusers.loaders.lora_pipeline", "load_lora_weights", "lora_state_dict"),
    *_adapter("diffusers.loaders.peft", "load_lora_adapter"),
    *_adapter("diffusers.loaders.textual_inversion", "load_textual_inversion"),
    *_adapter("diffusers.loaders.unet", "load_attn_procs"),
    *_adapter("transformers.integrations.peft", "load_adapter", by="load_into_transformers"),
    *_adapter("peft.peft_model", "load_adapter", by="load_into_peft"),
    *_adapter("peft.peft_model", "from_pretrained", by="load_peft_model"),
    *_adapter("peft.mixed_model", "load_adapter", by="load_into_peft"),
    *_adapter("peft.mixed_model", "from_pretrained", by="load_peft_model"),
    Seam(
        "diffusers.modular_pipelines.modular_pipeline",
        "ModularPipeline.load_components",
        "modular pipelines",
        "one plan and one report for all components",
        mentions=("_component_specs", "default_creation_method"),
        by="pipelines.modular:load_components",
        optional=True,
    ),
    Seam(
        "diffusers.modular_pipelines.modular_pipeline",
        "ModularPipeline.register_components",
        "modular pipelines",
        "whoever gets the components must not see weights whose bytes are still under way",
        by="pipelines.modular:register_components",
        optional=True,
    ),
    Seam(
        "diffusers.modular_pipelines.modular_pipeline_utils",
        "ComponentSpec.load",
        "modular pipelines",
        "the report's name of each component",
        by="pipelines.modular:load_component",
        optional=True,
    ),
    # -- construction --------------------------------------------------------------------------------------------------
    Seam(
        "accelerate.big_modeling",
        "init_on_device",
        "construction",
        "its patch of register_parameter counts on the thread that asked for it, and on no other",
        parameters=("device", "include_buffers"),
        by="stock.construction:init_on_device",
    ),
    Seam(
        "accelerate.utils",
        "parse_flag_from_env",
        "construction",
        "whether buffers are to be on that device, too",
        parameters=("key", "default"),
    ),
    Seam(
        "transformers.initialization",
        "normal_",
        "construction",
        "the mark of a parameter that has its values, which goes with it to that device",
        mentions=("_is_hf_initialized",),
        optional=True,
    ),
    Seam(
        "torch.nn.modules.module",
        "Module.register_parameter",
        "construction",
        "is replaced on one thread for that patch, by ``construction``",
        parameters=("name", "param"),
    ),
    Seam(
        "diffusers.models.modeling_utils",
        "no_init_weights",
        "diffusers models",
        _BEGINS,
        by="stock.construction:begins",
    ),
    Seam(
        "diffusers.models.modeling_utils",
        "ModelMixin._set_default_torch_dtype",
        "diffusers models",
        _BEGINS,
        parameters=("dtype",),
        by="stock.construction:begins",
    ),
    Seam(
        "transformers.modeling_utils",
        "PreTrainedModel.get_init_context",
        "construction",
        _BEGINS,
        by="stock.construction:begins",
    ),
    # -- repetitions ---------------------------------------------------------------------------------------------------
    *(
        Seam(
            f"torch.nn.modules.{module}",
            f"{name}.__init__",
            "repetitions",
            "is replaced on one thread: a layer like one that the model has already is a copy of that",
        )
        for module, name in (
            ("linear", "Linear"),
            ("conv", "Conv2d"),
            ("conv", "Conv3d"),
            ("normalization", "GroupNorm"),
            ("normalization", "LayerNorm"),
        )
    ),
    *(
        Seam(
            "torch.nn.modules.module",
            f"_global_{registered}_registration_hooks",
            "repetitions",
            f"are to be called for each {registered}",
        )
        for registered in ("parameter", "buffer", "module")
    ),
    Seam(
        "transformers.core_model_loading",
        "WeightTransform.__init__",
        "repetitions",
        "is replaced on one thread: the rename of one key is compiled where it is searched with, which it never is",
        parameters=("source_patterns", "target_patterns"),
        mentions=("compiled_sources", "_original_source_patterns", "_original_target_patterns"),
        optional=True,
    ),
    Seam(
        "transformers.core_model_loading",
        "spawn_materialize",
        "repetitions",
        "is replaced on one thread: tensors that are in memory already need no pool of threads",
        parameters=("thread_pool", "tensor"),
        optional=True,
    ),
    Seam(
        "transformers.core_model_loading",
        "set_param_for_module",
        "repetitions",
        "is replaced on one thread: plain tensors are placed by modules that are remembered",
        parameters=("model", "target_name", "param_value", "loading_info", "hf_quantizer"),
        mentions=("_is_hf_initialized", "missing_keys", "mismatched_keys", "unexpected_keys"),
        optional=True,
    ),
    Seam(
        "transformers.core_model_loading",
        "get_device",
        "repetitions",
        "is replaced on one thread: a map of the whole model has one device",
        parameters=("device_map", "param_name", "valid_torch_device"),
        optional=True,
    ),
    Seam(
        "transformers.conversion_mapping",
        "get_checkpoint_conversion_mapping",
        "repetitions",
        "makes the renames of one kind of models, and not those of all kinds first",
        parameters=("model_type",),
        mentions=("deepcopy", "get"),
        by="stock.conversions:get_checkpoint_conversion_mapping",
    ),
    Seam(
        "transformers.conversion_mapping",
        "_build_checkpoint_conversion_mapping",
        "repetitions",
        "is called with other names for the classes of renames",
    ),
    Seam(
        "transformers.conversion_mapping",
        "_checkpoint_conversion_mapping_cache",
        "repetitions",
        "is asked as soon as the library has it",
    ),
    Seam(
        "transformers.core_model_loading",
        "WeightTransform",
        "repetitions",
        "what all renames are",
    ),
    # -- layers of adapters --------------------------------------------------------------------------------------------
    Seam(
        "peft.tuners.lora.layer",
        "Linear.__init__",
        "adapter layers",
        "a layer like one that the adapter has already is a copy of that, around another base layer",
        parameters=("base_layer", "adapter_name", "config", "r", "lora_alpha", "is_target_conv_1d_layer"),
        by="stock.repeated_adapters:construct",
        optional=True,
    ),
    Seam(
        "peft.utils.integrations",
        "_init_on_device",
        "adapter layers",
        "its patch of register_parameter counts on the thread that asked for it, and on no other",
        parameters=("device", "include_buffers"),
        mentions=("_skip",),
        by="stock.repeated_adapters:init_on_device",
        optional=True,
    ),
    # -- moving --------------------------------------------------------------------------------------------------------
    Seam(
        "diffusers.pipelines.pipeline_utils",
        "DiffusionPipeline.to",
        "moving",
        "tensors of a pipeline that the core loaded go to the device through the core",
        by="moving.pipeline_to:to",
        always=True,
        held=("models alive",),
    ),
    Seam(
        "diffusers.pipelines.pipeline_utils",
        "DiffusionPipeline._is_pipeline_device_mapped",
        "moving",
        "such a pipeline is not moved",
    ),
    Seam(
        "accelerate.hooks",
        "add_hook_to_module",
        "moving",
        "marks a model that accelerate has dispatched; its tensors stay where they are",
        mentions=("_hf_hook",),
    ),
    Seam(
        "diffusers.hooks.hooks",
        "HookRegistry.check_if_exists_or_initialize",
        "moving",
        "marks a model that diffusers offloads; its tensors stay where they are",
        mentions=("_diffusers_hook",),
    ),
    # -- what is said, and the names --------------------------------------------------------------------------------
    Seam(
        "transformers.utils.loading_report",
        "log_state_dict_report",
        "messages",
        "says where the weights are from, which it cannot know of a state dict",
        mentions=(" LOAD REPORT", " from: "),
        optional=True,
    ),
    *(
        Seam(
            "transformers.utils.logging",
            name,
            "messages",
            "notes what it has said, by a method of all loggers that ``attempt`` replaces on one thread",
        )
        for name in ("warning_once", "info_once")
    ),
    Seam(
        "diffusers",
        "_import_structure",
        "names",
        "all public names, read from the source while nothing is imported",
    ),
    # -- torch ---------------------------------------------------------------------------------------------------------
    Seam(
        "torch._C",
        "DisableTorchFunction",
        "repetitions",
        "modes that see each function are not asked where the parameters of a copy go",
    ),
    Seam(
        "torch.nn.modules.module",
        "Module._save_to_state_dict",
        "diffusers models",
        "a class with its own version is asked what its state is",
    ),
    Seam(
        "torch.nn.modules.module",
        "Module.__init__",
        "diffusers models",
        "where a module has its tensors, and which of them files have",
        mentions=(
            *("_parameters", "_buffers", "_modules", "_non_persistent_buffers_set"),
            *("_state_dict_hooks", "_state_dict_pre_hooks"),
        ),
        also=("construction", "moving", "repetitions"),
    ),
    Seam(
        "torch.nn.modules.module",
        "Module._load_from_state_dict",
        "transformers models",
        "a class with its own version is stock's to load",
    ),
    Seam(
        "torch.utils._device",
        "DeviceContext",
        "modes",
        "the default device that a caller has chosen",
    ),
    Seam(
        "torch.utils._python_dispatch",
        "_get_current_dispatch_mode_stack",
        "modes",
        "the modes of this thread that see every operation",
    ),
    Seam(
        "torch.overrides",
        "_get_current_function_mode_stack",
        "modes",
        "the modes of this thread that see every function",
        also=("repetitions",),
    ),
    Seam(
        "torch._C._functorch",
        "peek_interpreter_stack",
        "modes",
        "whether this thread is inside a functional transform",
    ),
)

MODULES = frozenset(seam.module for seam in SEAMS)
