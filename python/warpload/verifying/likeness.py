"""Everything that can be said of what was loaded, as text: two loads are equal where all of it is.

"component"  name -> class
"setting"    component.key -> value, of a configuration, a tokenizer, a processor
"module"     component.path -> class, training, and plain attributes
"tensor"     component.name -> kind, dtype, shape, SHA-256, strides, requires_grad, ...
"tie"        component.name -> the names of the same memory
"""

from __future__ import annotations

import hashlib
import json
from collections import defaultdict
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

from warpload.measuring.digest import compare_named, fingerprints

if TYPE_CHECKING:
    import torch

Likeness = dict[str, dict[str, str]]

KINDS = ("component", "setting", "module", "tensor", "tie")


def likeness_of_pipeline(pipeline: Any) -> Likeness:
    """Describe a pipeline with all of its components."""
    found = _empty()
    found["component"][""] = _class_of(pipeline)
    _note_settings(found, "", {**pipeline.config, "name_or_path": pipeline.name_or_path})
    for name, component in pipeline.components.items():
        _note(found, name, component)
    return found


def likeness_of_model(model: Any) -> Likeness:
    """Describe one model."""
    found = _empty()
    _note(found, "", model)
    return found


def likeness_of_tensors(tensors: Mapping[str, torch.Tensor]) -> Likeness:
    """Describe the tensors of files."""
    found = _empty()
    found["tensor"] = _lines(dict(tensors), dict.fromkeys(tensors, "tensor"))
    return found


def differences(expected: Likeness, actual: Likeness) -> list[str]:
    """Return one line for everything in which two loads differ; none where they are equal."""
    return [line for kind in KINDS for line in compare_named(kind, expected[kind], actual[kind])]


def _empty() -> Likeness:
    return {kind: {} for kind in KINDS}


def _note(found: Likeness, name: str, component: Any) -> None:
    import torch

    found["component"][name] = _class_of(component)
    if isinstance(component, torch.nn.Module):
        _note_model(found, name, component)
    _note_settings(found, name, _settings_of(component))


def _joined(*parts: str) -> str:
    return ".".join(filter(None, parts))


def _class_of(value: Any) -> str:
    return f"{type(value).__module__}.{type(value).__qualname__}"


# -- settings ---------------------------------------------------------------------------------------------------------


def _note_settings(found: Likeness, name: str, settings: Mapping[str, Any]) -> None:
    for key, value in settings.items():
        found["setting"][_joined(name, str(key))] = json.dumps(_plain(value), sort_keys=True)


def _settings_of(value: Any) -> dict[str, Any]:
    """Return what a component was set to: of models, tokenizers, schedulers and processors, or a plain value."""
    settings: dict[str, Any] = {}
    for attribute in ("config", "generation_config"):
        if (config := getattr(value, attribute, None)) is not None:
            settings |= {f"{attribute}.{key}": each for key, each in _as_mapping(config).items()}
    for attribute in ("init_kwargs", "special_tokens_map", "name_or_path", "hf_device_map", "hf_quantizer"):
        if (each := getattr(value, attribute, None)) is not None:
            settings[attribute] = each if attribute != "hf_quantizer" else each.quantization_config
    if hasattr(value, "get_vocab"):
        vocabulary = json.dumps(value.get_vocab(), sort_keys=True).encode()
        settings["vocabulary"] = hashlib.sha256(vocabulary).hexdigest()
    if hasattr(value, "to_dict") and not settings:  # image processors
        settings |= value.to_dict()
    if any(base.__name__ == "ProcessorMixin" for base in type(value).__mro__):
        for attribute, part in vars(value).items():
            settings |= {f"{attribute}.{key}": each for key, each in _settings_of(part).items()}
    if not settings and not hasattr(value, "parameters"):
        settings["value"] = value
    return settings


def _as_mapping(config: Any) -> dict[str, Any]:
    if hasattr(config, "to_dict"):
        # What to_dict leaves out: which attention was chosen, whatever the attribute is called.
        kept = {name: value for name, value in vars(config).items() if "attn_implementation" in name}
        return {**config.to_dict(), **kept, "name_or_path": getattr(config, "name_or_path", None)}
    return dict(config) if isinstance(config, Mapping) else {"value": config}


def _plain(value: Any) -> Any:
    """Return a value as JSON has it, alike in every process: no addresses, no order that a set has by chance."""
    if value is None or isinstance(value, bool | int | str):
        return value
    if isinstance(value, float):
        return repr(value)  # NaN too
    if isinstance(value, Mapping):
        return {str(key): _plain(each) for key, each in value.items()}
    if isinstance(value, list | tuple):
        return [type(value).__name__, *map(_plain, value)]
    if isinstance(value, set | frozenset):
        return [type(value).__name__, *sorted(json.dumps(_plain(each), sort_keys=True) for each in value)]
    if hasattr(value, "to_dict"):
        return [_class_of(value), _plain(value.to_dict())]
    if hasattr(value, "tolist") and not hasattr(value, "is_meta"):
        return [_class_of(value), _plain(value.tolist())]
    text = repr(value)
    return [_class_of(value), "" if " at 0x" in text else text]


# -- models -----------------------------------------------------------------------------------------------------------


def _note_model(found: Likeness, name: str, model: torch.nn.Module) -> None:
    tensors: dict[str, torch.Tensor] = {}
    kinds: dict[str, str] = {}
    for path, module in model.named_modules(remove_duplicate=False):
        found["module"][_joined(name, path)] = _module_line(module)
        if path and hasattr(module, "save_pretrained"):  # a model inside of a model
            _note_settings(found, _joined(name, path), _settings_of(module))
        for kind, key, tensor in _tensors_of(module):
            tensors[_joined(name, path, key)], kinds[_joined(name, path, key)] = tensor, kind
    ties = _ties(tensors)
    for key, parts in [(key, dict(_parts(tensor))) for key, tensor in tensors.items()]:
        for part, each in parts.items():
            if isinstance(each, str):
                found["setting"][f"{key}.{part}"] = each
            elif part:
                tensors[f"{key}.{part}"], kinds[f"{key}.{part}"] = each, f"part of a {kinds[key]}"
    found["tensor"] |= _lines(tensors, kinds)
    found["tie"] |= ties
    found["module"][_joined(name, "state_dict")] = json.dumps(list(model.state_dict()))


def _module_line(module: torch.nn.Module) -> str:
    import torch

    kinds = (bool, int, float, str, tuple, torch.dtype)
    plain = {key: _plain(each) for key, each in vars(module).items() if isinstance(each, kinds)}
    unsaved = sorted(module._non_persistent_buffers_set)
    return f"{_class_of(module)} {json.dumps(plain, sort_keys=True)} not saved: {unsaved}"


def _tensors_of(module: torch.nn.Module) -> Iterator[tuple[str, str, torch.Tensor]]:
    """Yield (kind, name, tensor) of what a module has itself."""
    import torch

    for kind, those in (("parameter", module._parameters), ("buffer", module._buffers), ("attribute", vars(module))):
        for key, tensor in those.items():
            if isinstance(tensor, torch.Tensor):
                yield kind, key, tensor


def _parts(tensor: Any) -> Iterator[tuple[str, Any]]:
    """Yield what a quantiser's tensor has beside or instead of numbers: tensors by name, and text."""
    if hasattr(tensor, "__tensor_flatten__"):
        names, meaning = tensor.__tensor_flatten__()
        yield "meaning", json.dumps(_plain(meaning), sort_keys=True)
        yield from ((name, getattr(tensor, name)) for name in names)
    state = getattr(tensor, "quant_state", None)
    if state is not None and hasattr(state, "as_dict"):
        for name, each in state.as_dict().items():
            yield f"quant_state.{name}", each if hasattr(each, "is_meta") else json.dumps(_plain(each), sort_keys=True)


def _lines(tensors: Mapping[str, torch.Tensor], kinds: Mapping[str, str]) -> dict[str, str]:
    """Describe tensors: all that equality needs, the bytes by their SHA-256."""
    held = {
        name: each for name, each in tensors.items() if not each.is_meta and not hasattr(each, "__tensor_flatten__")
    }
    hashed = fingerprints(held)
    return {name: f"{kinds[name]} {_line(each, hashed.get(name, ''))}" for name, each in tensors.items()}


def _line(tensor: torch.Tensor, hashed: str) -> str:
    told = hashed.removeprefix("tensor ") or f"{tensor.dtype} {list(tensor.shape)}"
    where = f"{tensor.device}, {'a leaf' if tensor.is_leaf else 'no leaf'}"
    return (
        f"{told}, strides {list(tensor.stride())}, requires_grad {tensor.requires_grad}, {where}, {_class_of(tensor)}"
    )


def _ties(tensors: Mapping[str, torch.Tensor]) -> dict[str, str]:
    """Return of each tensor that has several names the others, those of the same memory."""
    groups: dict[tuple[int, int], list[str]] = defaultdict(list)
    for name, tensor in tensors.items():
        if tensor.numel() and not tensor.is_meta and not hasattr(tensor, "__tensor_flatten__"):
            groups[tensor.data_ptr(), tensor.nbytes].append(name)
    return {name: ", ".join(sorted(names)) for names in groups.values() if len(names) > 1 for name in names}
