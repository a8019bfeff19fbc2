"""A library that the tests make up, with a module that is put off for those who ask for it in the way of a table."""

from __future__ import annotations

import textwrap
from pathlib import Path

# library.part is put off for asker and its like; library.other is imported by part, and needs it.
FILES = {
    "library/__init__.py": """
        executed = True
        def __getattr__(name):
            raise AttributeError(f"library has no {name}")
    """,
    "library/part.py": """
        import sys
        sys.runs = getattr(sys, "runs", 0) + 1
        import library.other
        noted = []
        class Class: pass
        def function(): return "called"
        def register(what): noted.append(what); return what
        def wrap(function=None, extra=None):
            if function is None:
                return lambda function: wrap(function, extra)
            def wrapped(*arguments): return ("wrapped", extra, function(*arguments))
            return wrapped
        value = 1
    """,
    "library/other.py": """
        import sys
        sys.others = getattr(sys, "others", 0) + 1
        from library import part
        late = lambda: part.value
    """,
    "asker-7.0.dist-info/METADATA": "Metadata-Version: 2.1\\nName: asker\\nVersion: 7.0\\n",
    "asker/__init__.py": "",
    "asker/names.py": """
        from library.part import Class, function, register, wrap
        @register
        def registered(): pass
        class Owner:
            @wrap
            def method(self): return "plain"
            @wrap(extra=2)
            def other(self): return "plain"
        def is_one(value): return isinstance(value, Class)
        def call(): return function()
    """,
    "asker/again.py": "from .names import register\\n@register\\nclass Registered: pass",
    "asker/whole.py": "import library.part\\ndef take(): return library.part.value",
    "asker/otherwise.py": "import library.part as part\\nfrom library.part import value",
    "asker/unknown.py": "__import__('library.part')",
}

TABLE = """
import sys, types, threading, importlib
sys.path.insert(0, sys.argv[1])
from warpload.stock import deferred
deferred.DEFERRALS = (
    deferred.Deferral(
        ("library", "library.part"), ("asker.*",), 1, "a test", words=("library.part",),
        names={
            "library.part.Class": "class", "library.part.function": "function",
            "library.part.register": "registering", "library.part.wrap": "wrapping",
        },
    ),
)
from warpload import context
from warpload.report import LoadReport
from warpload.stock import deferred_module, deferring
def put_off():
    return [arrival.name for arrival in deferred_module.all_put_off()]
def turned_off():
    with context.began(LoadReport("a test")) as load: pass
    return load.report.turned_off
def runs():
    return getattr(sys, "runs", 0), getattr(sys, "others", 0)
def is_idle():
    return not [finder for finder in sys.meta_path if type(finder).__module__.startswith("warpload")]
"""

NAMES = """
with deferring.imports_put_off():
    import asker.names as names
assert put_off() == ["library", "library.part"] and runs() == (0, 0) and is_idle()
"""


def write_library(folder: Path) -> Path:
    """Write the library and who asks for it, and return the folder that they are in."""
    for name, text in FILES.items():
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).write_text(textwrap.dedent(text.replace("\\n", "\n")))
    return folder
