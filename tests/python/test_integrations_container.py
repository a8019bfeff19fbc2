"""docs/integrations/container.md: the Dockerfile and what runs its image name what is there, and agree."""

from __future__ import annotations

import dataclasses
import importlib.util
import json
import re
import shlex
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from support import integration_pages as pages
from warpload import options

FOLDER = pages.ROOT / "integrations" / "container"
DOCKERFILE = FOLDER / "Dockerfile"
yaml = pytest.importorskip("yaml", reason="huggingface_hub and transformers bring it")

# Variables of others that the image or its users set, and who reads each.
OTHERS = {
    "PATH": "the kernel",
    "PYTHONPATH": "Python",
    "PYTHONUNBUFFERED": "Python",
    "HF_HOME": "huggingface_hub",
    "TOKENIZERS_PARALLELISM": "tokenizers",
}


def instructions() -> list[tuple[str, str]]:
    """Return the Dockerfile's instructions with their arguments, each on one line."""
    text = re.sub(r"^\s*#.*\n", "", DOCKERFILE.read_text(encoding="utf-8"), flags=re.MULTILINE)
    lines = re.sub(r"\\\n\s*", " ", text).splitlines()
    return [(line.split(maxsplit=1)[0], line.split(maxsplit=1)[1]) for line in lines if line.strip()]


def of(kind: str) -> list[str]:
    found = [argument for instruction, argument in instructions() if instruction == kind]
    assert found, kind
    return found


def environment() -> dict[str, str]:
    return dict(pair.split("=", 1) for argument in of("ENV") for pair in shlex.split(argument))


def manifest(name: str) -> Any:
    return yaml.safe_load((FOLDER / name).read_text(encoding="utf-8"))


def own_variables() -> set[str]:
    """Return the variables that the package reads."""
    text = Path(options.__file__).read_text(encoding="utf-8")
    return set(re.findall(r'"(WARPLOAD_[A-Z_]+)"', text))


def server_variables() -> set[str]:
    settings = (pages.ROOT / "integrations/fastapi/image_server/settings.py").read_text(encoding="utf-8")
    fields = re.findall(r"^    (\w+): (?!.*ConfigDict)[^=\n]+(?: = .*)?$", settings, re.MULTILINE)
    return {f"IMAGES_{name.upper()}" for name in fields}


def test_each_file_that_is_copied_is_in_the_repository_and_sent_to_the_builder() -> None:
    allowed = DOCKERFILE.with_name("Dockerfile.dockerignore").read_text(encoding="utf-8").splitlines()
    sent = [line[1:] for line in allowed if line.startswith("!")]
    copied = [argument.split() for argument in of("COPY") if not argument.startswith("--from")]
    assert len(copied) > 3
    for *sources, _ in copied:
        for source in sources:
            assert (pages.ROOT / source).exists(), source
            assert any(source == each or source.startswith(f"{each}/") for each in sent), source


def test_the_wheel_is_built_of_all_that_pyproject_names() -> None:
    tomllib = pytest.importorskip("tomllib", reason="Python 3.11 has it")
    project = tomllib.loads((pages.ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    copied = {source for argument in of("COPY") for source in argument.split()[:-1]}
    needed = {project["project"]["readme"], *project["project"]["license-files"], "pyproject.toml"}
    needed |= {"CMakeLists.txt", "csrc"}
    needed |= {*project["tool"]["scikit-build"]["wheel"]["packages"].values()}

    assert {name for name in needed if not {name, *map(str, Path(name).parents)} & copied} == set()


def test_each_stage_that_is_copied_from_is_there() -> None:
    stages = {argument.split()[-1] for argument in of("FROM")}
    taken = {argument.split()[0].removeprefix("--from=") for argument in of("COPY") if argument.startswith("--from")}

    assert taken
    assert taken <= stages


def test_each_variable_is_one_that_somebody_reads() -> None:
    known = {*own_variables(), *OTHERS}

    assert environment().keys() <= known


@pytest.mark.parametrize("name", ["WARPLOAD_PREFETCH_SECONDS", "WARPLOAD_THREADS"])
def test_the_values_of_ours_are_ones_that_the_options_take(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    in_compose = manifest("compose.yaml")["services"]["images"]["environment"]
    value = str({**in_compose, **environment()}[name])
    plain = options.LoadOptions()
    monkeypatch.setenv(name, value)

    assert dataclasses.asdict(options.LoadOptions()) != dataclasses.asdict(plain)


def test_the_manifests_set_variables_that_the_server_or_the_package_reads() -> None:
    known = {*own_variables(), *server_variables()}
    assert "IMAGES_MODEL" in known
    (container,) = manifest("kubernetes.yaml")["spec"]["template"]["spec"]["containers"]
    set_there = {each["name"] for each in container["env"]} | {
        *manifest("compose.yaml")["services"]["images"]["environment"]
    }

    assert set_there <= known


def test_the_page_names_variables_that_are_read_and_the_pages_values_are_the_images() -> None:
    text = (pages.ROOT / "docs/integrations/container.md").read_text(encoding="utf-8")
    named = dict(re.findall(r"^\| `(WARPLOAD_\w+)` \| ([^|]+) \|", text, re.MULTILINE))

    assert named.keys() <= own_variables()
    assert set(re.findall(r"\bWARPLOAD_[A-Z_]+", text)) <= own_variables()
    ours = {name: value for name, value in environment().items() if name.startswith("WARPLOAD_")}
    assert {name: named[name].strip() for name in ours} == ours
    assert int(named["WARPLOAD_PINNED_BYTES"]) == options.LoadOptions().pinned_bytes


def test_the_server_that_is_started_is_the_one_that_is_copied(monkeypatch: pytest.MonkeyPatch) -> None:
    (command,) = map(json.loads, of("CMD"))
    module, _, name = command[1].partition(":")
    (target,) = [argument.split()[-1] for argument in of("COPY") if "image_server" in argument]
    assert target == f"{environment()['PYTHONPATH']}/image_server"
    assert importlib.util.find_spec(module.split(".")[0]) is not None
    assert (pages.ROOT / "integrations/fastapi" / f"{module.replace('.', '/')}.py").is_file()
    assert name == "app"
    assert f"{command[command.index('--port') + 1]}" == of("EXPOSE")[0]


def test_every_probe_asks_a_route_of_the_server_at_its_port() -> None:
    server = (pages.ROOT / "integrations/fastapi/image_server/server.py").read_text(encoding="utf-8")
    routes = set(re.findall(r'@app\.get\("(/\w+)"\)', server))
    (container,) = manifest("kubernetes.yaml")["spec"]["template"]["spec"]["containers"]
    asked = {probe: container[probe]["httpGet"] for probe in ("startupProbe", "readinessProbe", "livenessProbe")}
    (port,) = of("EXPOSE")

    assert {probe: each["path"] for probe, each in asked.items()} == {
        "startupProbe": "/ready",
        "readinessProbe": "/ready",
        "livenessProbe": "/health",
    }
    assert {str(each["port"]) for each in asked.values()} == {port}
    assert {"/health", "/ready"} <= routes
    assert f"http://127.0.0.1:{port}/health" in of("HEALTHCHECK")[0]
    assert manifest("compose.yaml")["services"]["images"]["ports"] == [f"{port}:{port}"]


def test_the_images_user_is_nobody_special_and_the_same_everywhere() -> None:
    (made,) = [argument for argument in of("RUN") if "useradd" in argument]
    number = int(re.findall(r"--uid (\d+)", made)[0])
    spec = manifest("kubernetes.yaml")["spec"]["template"]["spec"]

    assert of("USER") == [str(number)]
    assert number >= 1000
    assert spec["securityContext"]["runAsUser"] == spec["securityContext"]["fsGroup"] == number
    assert environment()["HF_HOME"] == of("VOLUME")[0]


def test_whoever_stops_the_server_waits_longer_than_its_requests_may_take() -> None:
    command = json.loads(of("CMD")[0])
    requests = int(command[command.index("--timeout-graceful-shutdown") + 1])
    spec = manifest("kubernetes.yaml")["spec"]["template"]["spec"]
    compose = manifest("compose.yaml")["services"]["images"]

    assert spec["terminationGracePeriodSeconds"] > requests
    assert int(compose["stop_grace_period"].removesuffix("s")) > requests


def test_threads_are_as_many_as_processors_are_allowed() -> None:
    compose = manifest("compose.yaml")["services"]["images"]

    assert compose["environment"]["WARPLOAD_THREADS"] == compose["cpus"]


def test_the_health_check_is_code_that_fails_where_nobody_answers() -> None:
    command = json.loads(of("HEALTHCHECK")[0].partition("CMD ")[2])
    (port,) = of("EXPOSE")
    command[-1] = command[-1].replace(f":{port}/", ":9/")  # where nobody listens

    result = subprocess.run([sys.executable, *command[1:]], capture_output=True, text=True, check=False, timeout=60)

    assert command[0] == "python"
    assert result.returncode != 0
    assert "refused" in result.stderr
