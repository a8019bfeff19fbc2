"""Where the suite has its things: the kit that travelled, and the folder that everything else goes to."""

from __future__ import annotations

import os
import sysconfig
from dataclasses import dataclass
from pathlib import Path

from . import facts

ROOT = Path(__file__).resolve().parents[2]


@dataclass(frozen=True)
class Place:
    """The folders of one machine.

    Attributes:
        kit: as `make gpu-kit` makes it.
        work: everything that is installed, built or written.
    """

    kit: Path
    work: Path

    @property
    def site(self) -> Path:
        """Packages that were missing, and warpload; the machine's own environment stays as it is."""
        return self.work / "site"

    @property
    def overlay(self) -> Path:
        """Packages in another version than the machine's, for the contender that needs them."""
        return self.work / "overlay"

    @property
    def programs(self) -> Path:
        """The test programs and the benchmarks' programs: the kit's, unless others were built here."""
        return self.built_programs if self.built_programs.is_dir() else self.kit / "programs"

    @property
    def built_programs(self) -> Path:
        """Where those go that are built here."""
        return self.work / "programs"

    @property
    def models(self) -> Path:
        """The pipelines that are loaded."""
        return self.work / "models"

    @property
    def disk_program(self) -> Path:
        """Measures what the disk gives."""
        return self.programs / "warpload_disk_ceiling"

    @property
    def link_program(self) -> Path:
        """Loads with other sizes of ring and slots, other numbers of threads and streams."""
        return self.programs / "warpload_modelled_link"

    def environment(self) -> dict[str, str]:
        """Return the environment in which what is installed here is found."""
        paths = [str(self.site), os.environ.get("PYTHONPATH", "")]
        # Where pip puts programs, such as cmake, and where NVIDIA puts its own.
        programs = [sysconfig.get_path("scripts"), os.environ.get("PATH", ""), "/usr/local/cuda/bin"]
        return {
            **os.environ,
            "PYTHONPATH": os.pathsep.join(filter(None, paths)),
            "PATH": os.pathsep.join(programs),
            "PYTHONUNBUFFERED": "1",
            "HF_HUB_OFFLINE": "1",
            "TOKENIZERS_PARALLELISM": "false",
            **self._bytecode(),
        }

    def _bytecode(self) -> dict[str, str]:
        """Return what makes every process find compiled Python code that an earlier one wrote.

        Packages from the kit have none at first. The machine's own may have none either, and lie where nothing is to be
        changed; an image may forbid writing any. Compiling what a pipeline imports takes some 15 s a process.
        """
        written = {"PYTHONDONTWRITEBYTECODE": ""}
        if all(facts.bytecode()["cached"].values()):
            return written
        return {**written, "PYTHONPYCACHEPREFIX": str(self.work / "bytecode")}
