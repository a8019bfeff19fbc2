"""Equality of what two loaders made, down to the last bit of the last buffer."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from typing import Any

import torch
from diffusers import ConfigMixin, DiffusionPipeline, OnnxRuntimeModel
from transformers import FeatureExtractionMixin, PreTrainedModel, PreTrainedTokenizerBase, ProcessorMixin
from transformers.image_processing_utils import BaseImageProcessor

from warpload import LoadReport


def assert_same_pipeline(ours: DiffusionPipeline, stock: DiffusionPipeline) -> None:
    """Fail unless both pipelines are of the same class with equal components."""
    assert type(ours) is type(stock)
    assert dict(ours.config) == dict(stock.config)
    assert ours.name_or_path == stock.name_or_path
    assert ours.dtype == stock.dtype
    assert getattr(ours, "hf_device_map", None) == getattr(stock, "hf_device_map", None)
    assert list(ours.components) == list(stock.components)
    for name, expected in stock.components.items():
        assert_same_component(ours.components[name], expected, name)


def assert_same_component(ours: Any, stock: Any, name: str) -> None:
    """Fail unless both are of the same class and equal: models, tokenizers, schedulers, processors, plain values."""
    assert type(ours) is type(stock), name
    if isinstance(stock, torch.nn.Module):
        assert_same_model(ours, stock, name)
    elif isinstance(stock, PreTrainedTokenizerBase):
        assert ours.get_vocab() == stock.get_vocab(), name
        assert ours.init_kwargs == stock.init_kwargs, name
        assert ours.special_tokens_map == stock.special_tokens_map, name
        assert ours.name_or_path == stock.name_or_path, name
    elif isinstance(stock, ConfigMixin):
        assert dict(ours.config) == dict(stock.config), name
    elif isinstance(stock, BaseImageProcessor | FeatureExtractionMixin):
        assert _plain(ours.to_dict()) == _plain(stock.to_dict()), name
    elif isinstance(stock, ProcessorMixin):
        assert vars(ours).keys() == vars(stock).keys(), name
        for part, value in vars(stock).items():
            assert_same_component(getattr(ours, part), value, f"{name}.{part}")
    elif isinstance(stock, OnnxRuntimeModel):
        assert (ours.model_save_dir, ours.latest_model_name) == (stock.model_save_dir, stock.latest_model_name), name
    elif hasattr(stock, "config") and hasattr(stock, "save_pretrained"):  # guiders and other parts with settings
        assert dict(ours.config) == dict(stock.config), name
    else:
        assert ours == stock, name


def _plain(value: Any) -> Any:
    """Return settings with lists in place of arrays, which do not compare as a whole."""
    if isinstance(value, dict):
        return {key: _plain(item) for key, item in value.items()}
    return value.tolist() if hasattr(value, "tolist") else value


def assert_same_model(ours: torch.nn.Module, stock: torch.nn.Module, name: str = "") -> None:
    """Fail unless the models have the same modules, settings and tensors."""
    _assert_same_modules(ours, stock, name)
    for kind in ("named_parameters", "named_buffers"):
        mine = dict(getattr(ours, kind)(remove_duplicate=False))
        theirs = dict(getattr(stock, kind)(remove_duplicate=False))
        assert list(mine) == list(theirs), name
        for key, expected in theirs.items():
            assert_same_tensor(mine[key], expected, f"{name}.{key}")
        assert _ties(mine) == _ties(theirs), name
    assert list(ours.state_dict()) == list(stock.state_dict()), name
    assert ours.dtype == stock.dtype, name
    if isinstance(stock, PreTrainedModel):
        for path, expected in stock.named_modules():
            if isinstance(expected, PreTrainedModel):
                _assert_same_transformers_settings(ours.get_submodule(path), expected, f"{name}.{path}")
    elif isinstance(stock, ConfigMixin):
        assert dict(ours.config) == dict(stock.config), name
    else:  # a container of several models
        for path, expected in stock.named_modules():
            if isinstance(expected, ConfigMixin):
                assert dict(ours.get_submodule(path).config) == dict(expected.config), f"{name}.{path}"


def _assert_same_modules(ours: torch.nn.Module, stock: torch.nn.Module, name: str) -> None:
    mine, theirs = dict(ours.named_modules(remove_duplicate=False)), dict(stock.named_modules(remove_duplicate=False))
    assert list(mine) == list(theirs), name
    for path, expected in theirs.items():
        module = mine[path]
        assert type(module) is type(expected), f"{name}.{path}"
        assert module.training == expected.training, f"{name}.{path}"
        assert module._non_persistent_buffers_set == expected._non_persistent_buffers_set, f"{name}.{path}"
        assert vars(module).keys() == vars(expected).keys(), f"{name}.{path}"
        for attribute, value in vars(expected).items():
            if isinstance(value, (bool, int, float, str, tuple, torch.dtype)) or attribute == "hf_device_map":
                assert getattr(module, attribute) == value, f"{name}.{path}.{attribute}"
            elif isinstance(value, torch.Tensor):  # an attribute that is neither a parameter nor a buffer
                assert_same_tensor(getattr(module, attribute), value, f"{name}.{path}.{attribute}")


def _assert_same_transformers_settings(ours: PreTrainedModel, stock: PreTrainedModel, name: str) -> None:
    assert type(ours.config) is type(stock.config), name
    assert ours.config.to_dict() == stock.config.to_dict(), name
    assert ours.config.name_or_path == stock.config.name_or_path, name
    assert ours.config._attn_implementation == stock.config._attn_implementation, name
    assert ours.name_or_path == stock.name_or_path, name
    mine, theirs = getattr(ours, "generation_config", None), getattr(stock, "generation_config", None)
    assert type(mine) is type(theirs), name
    if theirs is not None:
        assert mine.to_dict() == theirs.to_dict(), name


def assert_same_tensor(ours: torch.Tensor, stock: torch.Tensor, name: str = "") -> None:
    """Fail unless both tensors are of one type, dtype, layout and of the same bytes."""
    assert type(ours) is type(stock), name
    assert ours.dtype == stock.dtype, name
    assert ours.shape == stock.shape, name
    assert ours.stride() == stock.stride(), name
    assert ours.device == stock.device, name
    assert ours.requires_grad == stock.requires_grad, name
    assert ours.is_leaf == stock.is_leaf, name
    if hasattr(stock, "__tensor_flatten__"):  # a quantiser's: several tensors, and what they mean
        parts, meaning = stock.__tensor_flatten__()
        assert str(ours.__tensor_flatten__()) == str((parts, meaning)), name
        for part in parts:
            assert_same_tensor(getattr(ours, part), getattr(stock, part), f"{name}.{part}")
    elif not stock.is_meta:
        assert bytes_of(ours) == bytes_of(stock), f"{name}: other bytes"


def assert_same_tensors(ours: dict[str, torch.Tensor], stock: dict[str, torch.Tensor]) -> None:
    """Fail unless the dictionaries have the same names and tensors, in whatever order."""
    assert ours.keys() == stock.keys()
    for name, expected in stock.items():
        assert_same_tensor(ours[name], expected, name)


def bytes_of(tensor: torch.Tensor) -> bytes:
    """Return a tensor's elements as they lie in memory: equal where NaN is not."""
    flat = tensor.detach().contiguous().flatten()
    return flat.view(torch.uint8).cpu().numpy().tobytes()


def _ties(tensors: dict[str, torch.Tensor]) -> set[frozenset[str]]:
    """Return the groups of names that stand for the same memory."""
    groups: dict[tuple[int, int], set[str]] = defaultdict(set)
    for name, tensor in tensors.items():
        if tensor.numel():
            groups[tensor.data_ptr(), tensor.nbytes].add(name)
    return {frozenset(names) for names in groups.values()}


def assert_loaded_natively(report: LoadReport | None, names: Iterable[str]) -> None:
    """Fail unless the core loaded exactly these components, and bytes with them."""
    assert report is not None
    assert report.components == dict.fromkeys(names, "native")
    assert report.bytes > 0
