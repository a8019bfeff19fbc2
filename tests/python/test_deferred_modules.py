"""How a module is put off, and what happens when somebody asks for it: by a library that the test makes up."""

from __future__ import annotations

from pathlib import Path

import pytest

from support.processes import run_python
from support.put_off import NAMES, TABLE, write_library


@pytest.fixture
def library(tmp_path: Path) -> Path:
    return write_library(tmp_path)


@pytest.mark.parametrize("private", ["_LOCK", "_IMPORT_BELOW", "_BELOW"])
def test_nothing_is_put_off_by_a_python_whose_import_system_we_do_not_know(private: str, library: Path) -> None:
    run_python(
        TABLE
        + """
assert deferred_module.is_possible()
setattr(deferred_module, sys.argv[2], "_of_another_python")
with deferring.imports_put_off():
    import asker.names as names
assert put_off() == [] and runs() == (1, 1) and is_idle()
assert names.call() == "called"
""",
        library,
        private,
    )


@pytest.mark.parametrize(
    "first_use",
    [
        "import library.part; library.part.value",
        "from library.part import value",
        "from library import part; part.value",
        "import library.other; library.other.late()",
        "from library.other import late; late()",
        "dir(sys.modules['library.part'])",
        "vars(sys.modules['library.part'])",
        "hasattr(sys.modules['library.part'], 'nothing')",
        "sys.modules['library.part'].value = 1",
        "importlib.reload(sys.modules['library.part'])",
        "names.Class",
        "vars(names)",
        "from asker.names import *",
        "names.call()",
    ],
)
def test_whoever_asks_first_has_each_module_executed_once(first_use: str, library: Path) -> None:
    run_python(
        TABLE
        + NAMES
        + "before = sys.modules['library.part']\n"
        + first_use
        + """
import library
assert library.executed and library.part is before is sys.modules["library.part"]
assert runs() == ((2 if "reload" in sys.argv[2] else 1), 1), runs()
assert put_off() == [] and is_idle() and type(before) is types.ModuleType is type(library)
assert "reload" in sys.argv[2] or library.part.Class is names.Class and library.part.function is names.function
assert type(names) is types.ModuleType
""",
        library,
        first_use,
    )


@pytest.mark.parametrize(
    "question",
    [
        "sys.modules['library.part'].__name__",
        "sys.modules['library.part'].__file__",
        "importlib.util.find_spec('library.part').origin",
        "import inspect; inspect.getmodule(names.is_one)",
        "isinstance(sys.modules['library.part'], types.ModuleType)",
        "repr(sys.modules['library.part'])",
        "import warnings; warnings.catch_warnings().__enter__()",
        "assert not names.is_one(1)",
        "assert names.Owner().method() == 'plain' == names.Owner().other()",
        "names.registered",
    ],
)
def test_what_is_known_without_a_module_has_it_executed_by_nobody(question: str, library: Path) -> None:
    run_python(TABLE + "import importlib.util\n" + NAMES + question + "\nassert runs() == (0, 0), runs()", library)


def test_what_was_noted_is_done_in_order_when_the_module_comes(library: Path) -> None:
    run_python(
        TABLE
        + NAMES
        + """
with deferring.imports_put_off():
    from asker.again import Registered
taken = names.Owner.method
import library.part
assert library.part.noted == [names.registered, Registered]
assert names.Owner().method() == ("wrapped", None, "plain") == taken(names.Owner())
assert names.Owner().other() == ("wrapped", 2, "plain")
assert names.Owner.method.__name__ == "wrapped"  # the real one, and nothing around it
assert names.is_one(library.part.Class())
""",
        library,
    )


def test_a_module_that_is_imported_and_not_asked_is_put_off_too(library: Path) -> None:
    run_python(
        TABLE
        + """
with deferring.imports_put_off():
    import asker.whole
assert put_off() == ["library", "library.part"] and runs() == (0, 0)
assert asker.whole.library.part.value == 1 and runs() == (1, 1)
""",
        library,
    )


@pytest.mark.parametrize("module", ["otherwise", "unknown"])
def test_who_asks_in_a_way_that_the_table_does_not_know_gets_the_module_at_once(module: str, library: Path) -> None:
    run_python(
        TABLE
        + f"with deferring.imports_put_off():\n    import asker.{module}\nassert put_off() == [] and runs()[0] == 1",
        library,
    )


def test_outside_the_block_nothing_is_put_off(library: Path) -> None:
    run_python(TABLE + "import asker.names\nassert put_off() == [] and runs() == (1, 1)", library)


def test_threads_that_ask_at_once_get_the_whole_module_and_execute_it_once(library: Path) -> None:
    run_python(
        TABLE
        + NAMES
        + """
gate, found = threading.Barrier(8), []
def ask(number):
    gate.wait()
    if number % 2:
        import library.part
        found.append(library.part.value)
    else:
        found.append(sys.modules["library.part"].value)
threads = [threading.Thread(target=ask, args=(number,)) for number in range(8)]
[thread.start() for thread in threads]
[thread.join() for thread in threads]
assert found == [1] * 8 and runs() == (1, 1) and put_off() == [] and is_idle()
""",
        library,
    )


def test_a_thread_that_comes_while_another_executes_the_module_waits_for_it(library: Path) -> None:
    part = library / "library" / "part.py"
    part.write_text(part.read_text() + "sys.reached.set()\nsys.go_on.wait(60)\nlast = 2\n")
    run_python(
        TABLE
        + NAMES
        + """
sys.reached, sys.go_on, found = threading.Event(), threading.Event(), []
module = sys.modules["library.part"]
first = threading.Thread(target=lambda: found.append(module.last))
first.start()
assert sys.reached.wait(60)
others = [
    threading.Thread(target=lambda: found.append(module.last)),
    threading.Thread(target=lambda: found.append(names.function())),
    threading.Thread(target=lambda: found.append(importlib.import_module("library.part").last)),
]
[thread.start() for thread in others]
assert found == []
sys.go_on.set()
[thread.join() for thread in (first, *others)]
assert sorted(map(str, found)) == ["2", "2", "2", "called"] and runs() == (1, 1) and is_idle()
""",
        library,
    )


@pytest.mark.parametrize("module", ["names", "whole"])
def test_a_thread_beside_the_block_imports_at_once(module: str, library: Path) -> None:
    run_python(
        TABLE
        + f"""
with deferring.imports_put_off():
    thread = threading.Thread(target=importlib.import_module, args=("asker.{module}",))
    thread.start()
    thread.join()
assert put_off() == [] and runs() == (1, 1)
""",
        library,
    )


@pytest.mark.parametrize("when", ["before", "between"])
@pytest.mark.parametrize("place", ["0", "len(sys.meta_path)"])
def test_finders_of_other_code_see_the_import_when_it_happens(place: str, when: str, library: Path) -> None:
    insert = f"sys.meta_path.insert({place}, finder)\n"
    hook = """
class Finder:
    seen = []
    def find_spec(self, name, path, target=None):
        if name.startswith("library"): self.seen.append(name)
finder = Finder()
"""
    run_python(
        TABLE
        + hook
        + (insert if when == "before" else "")
        + NAMES
        + (insert if when == "between" else "")
        + f"""
import library.part
assert library.part.value == 1 and runs() == (1, 1) and is_idle() and finder in sys.meta_path
assert {place} or {{"library", "library.part"}} <= set(finder.seen)
""",
        library,
    )


@pytest.mark.parametrize("when", ["before", "between"])
def test_a_loader_of_other_code_executes_the_module(when: str, library: Path) -> None:
    hook = """
from importlib.machinery import PathFinder, SourceFileLoader
class Loader(SourceFileLoader):
    def exec_module(self, module):
        super().exec_module(module)
        module.hooked = True
class Finder:
    def find_spec(self, name, path, target=None):
        spec = PathFinder.find_spec(name, path, target) if name == "library.part" else None
        if spec is not None: spec.loader = Loader(spec.loader.name, spec.loader.path)
        return spec
"""
    insert = "sys.meta_path.insert(0, Finder())\n"
    at_once = """
with deferring.imports_put_off():
    import asker.names as names
assert "library.part" not in put_off() and sys.modules["library.part"].hooked
"""
    names = NAMES if when == "between" else at_once
    run_python(
        TABLE
        + hook
        + (insert if when == "before" else "")
        + names
        + (insert if when == "between" else "")
        + "import library.part\nassert library.part.hooked and library.part.value == 1 and runs() == (1, 1)",
        library,
    )


def test_a_module_that_another_hook_makes_takes_the_place(library: Path) -> None:
    run_python(
        TABLE
        + NAMES
        + """
from importlib.machinery import PathFinder, SourceFileLoader
class Own(types.ModuleType): pass
class Loader(SourceFileLoader):
    def create_module(self, spec): return Own(spec.name)
class Finder:
    def find_spec(self, name, path, target=None):
        spec = PathFinder.find_spec(name, path, target) if name == "library.part" else None
        if spec is not None: spec.loader = Loader(spec.loader.name, spec.loader.path)
        return spec
sys.meta_path.insert(0, Finder())
held = sys.modules["library.part"]
assert held.value == 1
assert type(sys.modules["library.part"]) is Own and held.function is sys.modules["library.part"].function
assert names.function is held.function and put_off() == [] and is_idle()
""",
        library,
    )


@pytest.mark.parametrize("error", ["ImportError", "RuntimeError"])
def test_a_module_that_fails_raises_its_error_at_each_use_and_can_be_mended(error: str, library: Path) -> None:
    part = library / "library" / "part.py"
    whole = part.read_text()
    part.write_text(f"raise {error}('broken')\n")
    run_python(
        TABLE
        + NAMES
        + f"""
part = sys.modules["library.part"]
uses = [lambda: part.value, names.call, lambda: names.Class, lambda: importlib.import_module("library.part").value]
for use in uses:
    try:
        use()
    except {error} as raised:
        assert str(raised) == "broken"
    else:
        raise AssertionError(use)
    assert is_idle()
open(part.__file__, "w").write({whole!r})
importlib.invalidate_caches()
assert names.call() == "called" and names.function is sys.modules["library.part"].function
""",
        library,
    )


def test_what_is_not_below_a_package_is_the_packages_own_error(library: Path) -> None:
    (library / "library" / "part.py").unlink()
    (library / "library" / "__init__.py").write_text("raise ImportError('broken')\n")
    run_python(
        TABLE
        + """
try:
    with deferring.imports_put_off():
        import asker.names
except ImportError as error:
    assert str(error) == "broken", error
else:
    raise AssertionError
""",
        library,
    )


def test_a_child_of_fork_has_the_module_come_by_itself(library: Path) -> None:
    run_python(
        TABLE
        + NAMES
        + """
import os
child = os.fork()
if child == 0:
    os._exit(0 if names.call() == "called" and runs() == (1, 1) else 1)
assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
assert runs() == (0, 0) and names.call() == "called"
""",
        library,
    )


def test_a_module_that_its_package_imports_is_executed_once_for_who_asks_for_it_first(library: Path) -> None:
    (library / "library" / "__init__.py").write_text("import library.other\nexecuted = True\n")
    run_python(
        TABLE
        + NAMES
        + """
import library.other
assert library.other is sys.modules["library.other"] and library.executed
assert runs()[1] == 1 and is_idle(), runs()
""",
        library,
    )


def test_a_child_that_is_forked_while_another_thread_imports_puts_nothing_off(library: Path) -> None:
    run_python(
        TABLE
        + """
import os
entered, leave = threading.Event(), threading.Event()
def hold():
    with deferring.imports_put_off():
        entered.set()
        leave.wait()
thread = threading.Thread(target=hold, daemon=True)
thread.start()
entered.wait()
child = os.fork()
if child == 0:
    os._exit(0 if is_idle() else 1)
assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
leave.set()
thread.join()
assert is_idle()
""",
        library,
    )
