"""YAML is untrusted: what it may hold, and how it is refused."""

from __future__ import annotations

import contextlib
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from simulator.catalog.yaml_text import LIMIT_BYTES, read_yaml
from simulator.spec.errors import InputError


def test_values_and_their_places() -> None:
    document = read_yaml("a: 1\nb:\n  c: 16e6\n  d:\n    - yes\n    - true\n    - ~\n", "f.yaml")
    assert document.value == {"a": 1, "b": {"c": 16e6, "d": ["yes", True, None]}}
    assert document.where(("b", "c")) == "f.yaml:3"
    assert document.where(("b", "d", 1)) == "f.yaml:6"
    assert document.where(("b", "nowhere", 3)) == "f.yaml:2"
    assert document.part(("b", "d", 1)) is True
    assert document.part(("b", "c", "e")) is None


def test_dates_stay_text_and_other_bases_are_numbers() -> None:
    document = read_yaml("a: 2026-01-01\nb: 0x10\nc: '5'\nd: -1_000\ne: h100-sxm:64\n", "f")
    assert document.value == {"a": "2026-01-01", "b": 16, "c": "5", "d": -1000, "e": "h100-sxm:64"}


def test_an_anchor_may_be_used_again() -> None:
    document = read_yaml("a: &x {b: 1}\nc: *x\nd: [*x, *x]\n", "f")
    assert document.value["d"] == [{"b": 1}, {"b": 1}]


BOMB = "a: &a [x, x, x, x, x, x, x, x, x]\n" + "".join(
    f"{name}: &{name} [{', '.join([f'*{before}'] * 9)}]\n"
    for before, name in zip("abcdefgh", "bcdefghi", strict=True)
)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (BOMB, "more than 20000 values; split the file"),
        ("a: &x [*x]", "alias *'x' without a complete anchor before it"),
        ("a: [" + "*x, " * 3 + "]", "alias *'x' without a complete anchor"),
        ("a: &x 1\nb: [" + "*x, " * 101 + "]", "f.yaml:2: more than 100 aliases"),
        ("a: 1\nb: 2\na: 3", "f.yaml:3: 'a' is given twice; remove one of them"),
        ("a: !!python/object/apply:os.system [x]", "f.yaml:1: a tag (!...)"),
        ("a: !!int 3", "f.yaml:1: a tag (!...)"),
        ("[" * 5000, "f.yaml:1: nested deeper than 40 levels; flatten it"),
        ("a: b: c", "f.yaml:1: not valid YAML: mapping values are not allowed here"),
        ("? [a]\n: b", "f.yaml:1: a key that is not plain text"),
        ("<<: {a: 1}", "f.yaml:1: a merge key (<<); use extends: another-file.yaml"),
        ("a:\n\t- b", "f.yaml:2: not valid YAML"),
        ("\x00", "f.yaml: not valid YAML"),
        ("a: 1\n---\nb: 2", "f.yaml:2: a second document (---); keep one document per file"),
        ("a: " + "9" * 6000, "cannot be read; write fewer digits"),
        ("a" * (LIMIT_BYTES + 1), "f.yaml: larger than 256 KiB"),
    ],
)
def test_what_is_refused(text: str, message: str) -> None:
    with pytest.raises(InputError) as caught:
        read_yaml(text, "f.yaml")
    assert message in str(caught.value)
    assert len(str(caught.value)) < 300


def test_a_bomb_is_refused_before_it_grows() -> None:
    start = time.process_time()
    with pytest.raises(InputError):
        read_yaml(BOMB, "f.yaml")
    assert time.process_time() - start < 1.0


YAML_ALPHABET = st.sampled_from(
    [
        "a",
        "b",
        "1",
        ".5",
        ": ",
        ":",
        "- ",
        "\n",
        "  ",
        "{",
        "}",
        "[",
        "]",
        ", ",
        "&x ",
        "*x",
        "!t ",
        "'",
        '"',
        "#",
        "|",
        ">",
        "?",
        "%",
        "@",
        "\\",
        "~",
        "---\n",
        "...",
        "<<: ",
        "\t",
        "é",
        "\x85",
    ]
)


@given(st.one_of(st.text(), st.lists(YAML_ALPHABET, max_size=60).map("".join)))
def test_any_text_is_read_or_refused(text: str) -> None:
    with contextlib.suppress(InputError):
        read_yaml(text, "f.yaml")
