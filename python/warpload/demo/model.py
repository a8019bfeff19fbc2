"""Which pipeline a demonstration is of, and whether it can be: all that can be wrong is said before a load begins."""

from __future__ import annotations

import os
from pathlib import Path

from warpload import engine
from warpload.errors import WarploadError
from warpload.pipelines.folder import MODEL_INDEX
from warpload.pipelines.snapshot import complete_snapshot
from warpload.stock import diffusers_names, hub
from warpload.stock.model_files import read_json


class ModelError(ValueError):
    """What was named is no pipeline that can be loaded here; the message has the reason and the cure."""


def find_model(model: str) -> Path:
    """Return the folder of a pipeline that is named by its folder or its id on the Hub, checked.

    Raises:
        ModelError: it is neither, or it cannot be fetched.
        WarploadError: a weight file is not valid.
    """
    folder = Path(model).expanduser()
    if folder.is_dir():
        folder = folder.absolute()
    elif folder.exists():
        raise ModelError(f"{model} is a file, not a pipeline's folder (name the folder that has {MODEL_INDEX})")
    elif model.startswith((".", "~", os.sep)) or not hub.is_repository(model):
        raise ModelError(f"{model}: there is no such folder (check the spelling)")
    else:
        folder = complete_snapshot(model, {}) or _fetch(model)
    check_folder(folder)
    return folder


def check_folder(folder: Path) -> None:
    """Refuse a folder that holds no pipeline which the installed diffusers can load.

    Raises:
        ModelError: says what it is instead, and what to name.
        WarploadError: a weight file is not valid.
    """
    if not (folder / MODEL_INDEX).is_file():
        raise ModelError(_what_instead(folder))
    index = read_json(folder / MODEL_INDEX)
    class_name = (index or {}).get("_class_name")
    if not isinstance(class_name, str):
        raise ModelError(f"{folder / MODEL_INDEX} is not valid: it names no pipeline class (fetch the file again)")
    if class_name not in diffusers_names.diffusers_names():
        raise ModelError(f"{folder}: the installed diffusers has no {class_name} (update diffusers)")
    for file in sorted(folder.glob("*/*.safetensors")):
        engine.open_checkpoint(file)


def _what_instead(folder: Path) -> str:
    if (folder.parent / MODEL_INDEX).is_file():
        return f"{folder} is a component of a pipeline (name the pipeline's folder: {folder.parent})"
    if not any(folder.iterdir()):
        return f"{folder} is empty (name a pipeline's folder)"
    found = next(iter(sorted(folder.glob(f"*/{MODEL_INDEX}"))), None)
    cure = f"did you mean {found.parent}?" if found is not None else f"name the folder that has {MODEL_INDEX}"
    return f"{folder} has no {MODEL_INDEX}: it is no pipeline's folder ({cure})"


def _fetch(model: str) -> Path:
    """Fetch a pipeline from the Hub, after a first file that tells whether it is there."""
    from huggingface_hub import errors, hf_hub_download

    try:
        hf_hub_download(model, MODEL_INDEX)
    except errors.HFValidationError as error:
        raise ModelError(f"{model} is neither a folder nor an id on the Hub (check the spelling)") from error
    except errors.GatedRepoError as error:
        raise ModelError(f"{model}: the Hub wants its terms accepted (do so there, then `hf auth login`)") from error
    except errors.RepositoryNotFoundError as error:
        raise ModelError(
            f"{model}: there is no such folder, and no such repository on the Hub (check the spelling; for a private"
            " one, `hf auth login`)"
        ) from error
    except errors.LocalEntryNotFoundError as error:
        raise ModelError(
            f"{model}: there is no such folder, the Hub cannot be asked, and its cache here has no whole copy"
            " (check the spelling, or go online)"
        ) from error
    except errors.EntryNotFoundError as error:
        raise ModelError(f"{model} has no {MODEL_INDEX} on the Hub: it is no pipeline (name one that is)") from error
    except (errors.HfHubHTTPError, OSError) as error:
        raise ModelError(f"{model} could not be fetched: {_last_line(error)} (try again)") from error
    return _download(model)


def _download(model: str) -> Path:
    from diffusers import DiffusionPipeline

    try:
        return Path(DiffusionPipeline.download(model))
    except WarploadError:
        raise
    except (OSError, ValueError) as error:
        raise ModelError(f"{model} could not be fetched: {_last_line(error)} (try again)") from error


def _last_line(error: BaseException) -> str:
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return lines[-1] if lines else type(error).__name__
