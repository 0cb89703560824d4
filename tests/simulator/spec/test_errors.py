"""Errors say what, where and what to do."""

from __future__ import annotations

from simulator.spec.errors import InputError, Mistakes, NoFeasiblePlan, all_of, unknown_name


def test_a_message_has_place_and_advice() -> None:
    assert str(InputError("x is 3")) == "x is 3"
    assert str(InputError("x is 3", where="a.yaml:2", fix="use 4")) == "a.yaml:2: x is 3; use 4"
    assert (InputError("x").exit_code, NoFeasiblePlan("x").exit_code) == (2, 1)


def test_unknown_names_suggest_or_list() -> None:
    assert str(unknown_name("colour", "gren", ["blue", "green"])) == (
        "unknown colour 'gren'; did you mean green?"
    )
    assert str(unknown_name("colour", "zzz", ["red", "green"])) == (
        "unknown colour 'zzz'; known: red, green"
    )
    assert str(unknown_name("colour", "ee", ["red", "greenish"])).endswith("mean greenish?")
    assert len(str(unknown_name("colour", "z" * 10_000, ["red"]))) < 100


def test_several_mistakes_stand_in_the_order_of_the_file() -> None:
    first, second = InputError("b", where="a.yaml:10"), InputError("a", where="a.yaml:9")
    flag = InputError("c", where="--model")
    assert all_of([first]) is first
    both = all_of([Mistakes([first, second]), flag])
    assert str(both) == "3 mistakes\n--model: c\na.yaml:9: a\na.yaml:10: b"
    assert both.exit_code == 2


def test_the_beginning_of_many_names_is_their_family() -> None:
    names = [f"qwen3-{size}b" for size in range(12)] + ["gpt2"]
    error = str(unknown_name("model", "qwen", names))
    assert error.count("qwen3-") == 8
    assert "did you mean one of qwen3-0b, qwen3-1b," in error
    assert error.endswith(", ...?")
