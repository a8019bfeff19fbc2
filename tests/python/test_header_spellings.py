"""A header in whatever spelling the safetensors package takes means the same to the core; what it refuses is refused.

The package reads headers by serde, which takes more than writers write: fields that it does not know, an array for an
object, ``{"F32": null}`` for ``"F32"``, keys that come twice. Expected is what the installed package makes of a file.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import safetensors
import safetensors.torch
from hypothesis import given, settings
from hypothesis import strategies as st

import warpload
from support.bad_files import fail
from support.checkpoints import framed
from support.compare import assert_same_tensors

DATA = bytes(range(8))
PLAIN = '{"dtype":"F32","shape":[2],"data_offsets":[0,8]}'


def entry(dtype: str = '"F32"', shape: str = "[2]", offsets: str = "[0,8]", more: str = "") -> str:
    return f'{{"dtype":{dtype},"shape":{shape},"data_offsets":{offsets}{more}}}'


def one(text: str) -> str:
    return f'{{"w":{text}}}'


def beside(value: str) -> str:
    return f'{{"__metadata__":{value},"w":{PLAIN}}}'


def nested(depth: int) -> str:
    return one(entry(more=f',"x":{"[" * depth}{"]" * depth}'))


TAKEN = {
    "plain": one(PLAIN),
    "an unknown field": one(entry(more=',"strides":[1]')),
    "unknown fields of every kind": one(
        entry(more=',"a":null,"b":true,"c":-0,"d":1e-999,"e":"x","f":[[{}]],"g":{"h":1}')
    ),
    "a number of thirty digits in an unknown field": one(entry(more=f',"x":{"1" * 30}')),
    "an unknown field first": one('{"x":{"dtype":"U8"},' + PLAIN[1:]),
    "an unknown field twice": one(entry(more=',"x":1,"x":2')),
    "a key twice within an unknown field": one(entry(more=',"x":{"y":1,"y":{"z":[{"u":1,"u":2}]}}')),
    "an unknown field of the name of another entry": one(entry(more=',"w":0,"__metadata__":{"a":1}')),
    "fields known from elsewhere, in other letters": one(entry(more=',"Dtype":1,"SHAPE":2')),
    "an entry as an array": one('["F32",[2],[0,8]]'),
    "an entry as an array with its dtype as an object": one('[{"F32":null},[2],[0,8]]'),
    "an array beside an object": '{"v":["U8",[4],[0,4]],"w":{"dtype":"U8","shape":[4],"data_offsets":[4,8]}}',
    "a dtype as an object": one(entry('{"F32":null}')),
    "escapes in a dtype": one(entry('"F\\u00332"')),
    "escapes in the names of fields": one('{"\\u0064type":"F32","shap\\u0065":[2],"data_offsets":[0,8]}'),
    "deep nesting": nested(125),
    "metadata with a key twice": beside('{"a":"1","b":"x","a":"2","\\u0061":"3"}'),
    "metadata that are null": beside("null"),
    "metadata that are empty": beside("{}"),
    "metadata with escapes": beside(r'{"\u0061":"\n\u00e9\ud83d\ude00\/\u0000"}'),
    "metadata spelled with escapes": one(PLAIN).replace('{"w"', '{"\\u005f_metadata__":{"a":"b"},"w"'),
    "white space around and between": f"\n\t {one(PLAIN)} \r\n".replace(":", " :\t").replace(",", "\r\n, "),
    "an empty name": f'{{"":{PLAIN}}}',
}

REFUSED = {
    "an array of four": one('["F32",[2],[0,8],1]'),
    "an array of two": one('["F32",[2]]'),
    "an empty array": one("[]"),
    "an array in another order": one('[[2],"F32",[0,8]]'),
    "an array of named fields": one('[{"dtype":"F32"},[2],[0,8]]'),
    "an entry that is null": f'{{"w":{PLAIN},"x":null}}',
    "an entry that is a string": f'{{"w":{PLAIN},"x":"y"}}',
    "an entry that is a number": f'{{"w":{PLAIN},"x":3}}',
    "a dtype as an object of an empty object": one(entry('{"F32":{}}')),
    "a dtype as an object of an array": one(entry('{"F32":[]}')),
    "a dtype as an object of a number": one(entry('{"F32":0}')),
    "a dtype as an object of a string": one(entry('{"F32":""}')),
    "a dtype as an object of two": one(entry('{"F32":null,"F64":null}')),
    "a dtype as an object of the same twice": one(entry('{"F32":null,"F32":null}')),
    "a dtype as an empty object": one(entry("{}")),
    "a dtype as an object of what is none": one(entry('{"F128":null}')),
    "a dtype by its number": one(entry("17")),
    "a dtype by its number in an object": one(entry('{"17":null}')),
    "a dtype as an array": one(entry('["F32"]')),
    "a dtype that is null": one(entry("null")),
    "a dtype in small letters": one(entry('"f32"')),
    "a dtype twice": one(entry(more=',"dtype":"F32"')),
    "a shape twice": one(entry(more=',"sh\\u0061pe":[2]')),
    "offsets twice": one(entry(more=',"data_offsets":[0,8]')),
    "no dtype": one('{"shape":[2],"data_offsets":[0,8]}'),
    "no shape": one('{"dtype":"F32","data_offsets":[0,8]}'),
    "no offsets": one('{"dtype":"F32","shape":[2]}'),
    "a field in capitals": one(PLAIN.replace("dtype", "Dtype")),
    "an extent with an exponent": one(entry(shape="[2e0]")),
    "an extent with a point": one(entry(shape="[2.0]")),
    "an extent of minus zero": one(entry(shape="[-0,2]")),
    "an extent with a plus": one(entry(shape="[+2]")),
    "an extent with a leading zero": one(entry(shape="[02]")),
    "an extent that is a string": one(entry(shape='["2"]')),
    "an extent that is true": one(entry(shape="[true,2]")),
    "an extent above 64 bits": one(entry(shape="[18446744073709551618]")),
    "an extent that no tensor can have": f'{{"w":{PLAIN},"z":["U8",[0,9223372036854775808],[8,8]]}}',
    "a shape that is null": one(entry(shape="null")),
    "a shape that is an object": one(entry(shape='{"0":2}')),
    "a shape that is a string": one(entry(shape='"2"')),
    "a nested shape": one(entry(shape="[[2]]")),
    "an offset of minus zero": one(entry(offsets="[-0,8]")),
    "an offset with an exponent": one(entry(offsets="[0,8e0]")),
    "an offset with a point": one(entry(offsets="[0.0,8]")),
    "three offsets": one(entry(offsets="[0,8,8]")),
    "one offset": one(entry(offsets="[8]")),
    "offsets as an object": one(entry(offsets='{"0":0,"1":8}')),
    "a hole": one(entry('"U8"', "[4]", "[4,8]")),
    "the wrong size": one(entry(shape="[3]")),
    "offsets outside the file": one(entry(shape="[4]", offsets="[0,16]")),
    "metadata that are an array": beside("[]"),
    "metadata that are pairs": beside('[["a","b"]]'),
    "metadata of null": beside('{"a":null}'),
    "metadata of objects": beside('{"a":{"b":"c"}}'),
    "metadata twice": f'{{"__metadata__":{{}},"__metadata__":{{}},"w":{PLAIN}}}',
    "metadata that are null, twice": f'{{"__metadata__":null,"__metadata__":null,"w":{PLAIN}}}',
    "half a character": beside(r'{"a":"\ud800"}'),
    "half a character in an unknown field": one(entry(more=r',"x":"\udc00"')),
    "a number above all doubles": one(entry(more=',"x":1e999')),
    "NaN in an unknown field": one(entry(more=',"x":NaN')),
    "nesting without end": nested(126),
    "a top that is an array": f"[{one(PLAIN)}]",
    "a top that is null": "null",
    "a trailing comma": one(PLAIN)[:-1] + ",}",
    "a comment": one(PLAIN)[:-1] + "/**/}",
    "a tabulator in a string": one(entry(more=',"x\t":1')),
    "a form feed behind": one(PLAIN) + "\f",
    "a NUL behind": one(PLAIN) + "\0",
    "a byte order mark": "\ufeff" + one(PLAIN),
    "another object behind": one(PLAIN) + "{}",
}


def write(header: str, file: Path, data: bytes = DATA) -> Path:
    file.write_bytes(framed(header.encode()) + data)
    return file


def assert_means_the_same(file: Path) -> None:
    """Fail unless the core makes of the file what the safetensors package makes of it."""
    with safetensors.safe_open(file, "pt") as expected, warpload.safe_open(file, "pt") as opened:
        assert opened.metadata() == expected.metadata()
        assert set(opened.keys()) == set(expected.keys())
        for name in expected.keys():  # noqa: SIM118 - a method of safetensors'
            assert opened.get_slice(name).get_dtype() == expected.get_slice(name).get_dtype()
            assert opened.get_slice(name).get_shape() == expected.get_slice(name).get_shape()
    assert_same_tensors(warpload.load_file(file), safetensors.torch.load_file(file))


@pytest.mark.parametrize("case", TAKEN)
def test_a_spelling_that_the_package_takes_means_the_same(case: str, tmp_path: Path) -> None:
    assert_means_the_same(write(TAKEN[case], tmp_path / "model.safetensors"))


@pytest.mark.parametrize("case", REFUSED)
def test_a_spelling_that_the_package_refuses_is_refused(case: str, tmp_path: Path) -> None:
    file = write(REFUSED[case], tmp_path / "model.safetensors")
    with pytest.raises((safetensors.SafetensorError, TypeError)):  # TypeError: torch has no such shape
        safetensors.torch.load_file(file)

    error = fail(warpload.FormatError, lambda: warpload.load_file(file), file)

    assert error.cure


def test_a_tensor_that_comes_twice_is_refused_though_the_package_takes_the_last(tmp_path: Path) -> None:
    file = write(f'{{"w":{PLAIN},"\\u0077":["I64",[1],[0,8]]}}', tmp_path / "model.safetensors")
    assert safetensors.torch.load_file(file)["w"].shape == (1,)

    error = fail(warpload.FormatError, lambda: warpload.load_file(file), file)

    assert error.tensor == "w"
    assert "duplicate" in error.reason


VALUES = ["null", "true", "0", "-1", "1.5", '"x"', "[]", "[1,[2]]", "{}", '{"F32":null}', '{"a":1,"a":{"dtype":2}}']
DTYPES = ['"F32"', '{"F32":null}', '"I64"', '{"I64":null}', '{"F32":null,"I64":null}', "null", "3"]
SHAPES = ["[2]", "[1]", "[1,2]", "[]", "[2.0]", "null", '"2"']
OFFSETS = ["[0,8]", "[0,4]", "[8,16]", "[0]", "[0,8,8]", "{}"]


def mostly(good: list[str], others: list[str]) -> st.SearchStrategy[str]:
    return st.integers(0, 9).flatmap(lambda roll: st.sampled_from(others if roll == 0 else good))


@st.composite
def entries(draw: st.DrawFn) -> str:
    """Return an entry for a tensor of 8 bytes, mostly a right one, in any spelling."""
    values = [
        draw(mostly(DTYPES[:2], DTYPES)),
        draw(mostly(SHAPES[:1], SHAPES)),
        draw(mostly(OFFSETS[:1], OFFSETS)),
    ]
    if draw(st.integers(0, 3)) == 0:
        more = draw(st.lists(mostly([""], VALUES), max_size=1))
        return f"[{','.join([*values, *filter(None, more)])}]"
    fields = list(zip(["dtype", "shape", "data_offsets"], values, strict=True))
    fields += draw(
        st.lists(st.tuples(st.sampled_from(["x", "strides", "", "F32"]), st.sampled_from(VALUES)), max_size=3)
    )
    if draw(st.integers(0, 9)) == 0:
        fields.append(draw(st.sampled_from(fields)))
    return "{" + ",".join(f'"{name}":{value}' for name, value in draw(st.permutations(fields))) + "}"


@st.composite
def headers(draw: st.DrawFn) -> str:
    parts = [f'"w":{draw(entries())}']
    if draw(st.booleans()):
        strings = st.sampled_from(['"a"', '"b"', '"\\u0061"'])
        pairs = draw(st.lists(st.tuples(strings, mostly(['"1"', '"2"'], VALUES)), max_size=4))
        parts.append('"__metadata__":{' + ",".join(f"{key}:{value}" for key, value in pairs) + "}")
    return "{" + ",".join(draw(st.permutations(parts))) + "}"


@settings(max_examples=400)
@given(header=headers())
def test_any_spelling_fares_as_with_the_package(header: str, tmp_path_factory: pytest.TempPathFactory) -> None:
    file = write(header, tmp_path_factory.getbasetemp() / "any.safetensors")
    outcome: Any = None
    try:
        safetensors.torch.load_file(file)
    except safetensors.SafetensorError as error:
        outcome = error
    if outcome is None:
        assert_means_the_same(file)
    else:
        with pytest.raises(warpload.FormatError):
            warpload.load_file(file)
