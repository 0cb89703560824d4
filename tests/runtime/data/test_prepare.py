"""Files become tokens; what cannot be read is told, and skipped where that is asked for."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from runtime.data import open_batches
from runtime.data.manifest import Manifest
from runtime.data.prepare import prepare_data
from runtime.data.store import TokenStore
from runtime.run_dir import RunDir
from simulator.spec.errors import InputError
from simulator.spec.scenario import RunSpec, Scenario
from tests.runtime.plans import TINY, fp32, plan_file

TEXTS = ["the first text", "and the second, with ünïcode", "a third one"] * 20


def scenario(vocab_size: int = 256, **run: object) -> Scenario:
    model = TINY.model_copy(update={"vocab_size": vocab_size})
    file = plan_file(fp32(microbatch_sequences=4), model=model, run=RunSpec.model_validate(run))
    return file.scenario


def prepared(place: Path, vocab_size: int = 256, **run: object) -> Manifest:
    run_dir = RunDir(place / "run")
    run_dir.root.mkdir(exist_ok=True)
    manifest = prepare_data(scenario(vocab_size, **run), run_dir)
    assert manifest is not None
    return manifest


def all_tokens(manifest: Manifest) -> list[int]:
    store = TokenStore(manifest)
    return list(map(int, store.read(0, store.n_tokens)))


def write_shards(folder: Path) -> None:
    (folder / "a.jsonl").write_text("".join(json.dumps({"text": text}) + "\n" for text in TEXTS))
    pd.DataFrame({"text": TEXTS, "n": range(len(TEXTS))}).to_parquet(folder / "b.parquet")
    (folder / "c.txt").write_text("\n".join(TEXTS))


@pytest.fixture
def corpus(tmp_path: Path) -> Path:
    folder = tmp_path / "corpus"
    folder.mkdir()
    write_shards(folder)
    return folder


def test_bytes_of_every_kind_of_file(corpus: Path, tmp_path: Path) -> None:
    manifest = prepared(tmp_path, data=str(corpus))
    documents = "".join(text + "\0" for text in TEXTS)
    expected = documents + documents + "\n".join(TEXTS)
    assert bytes(all_tokens(manifest)).decode() == expected
    assert [Path(shard.source).name for shard in manifest.shards] == [
        "a.jsonl",
        "b.parquet",
        "c.txt",
    ]
    assert manifest.shards[2].path == str(corpus / "c.txt")  # read where it lies


def test_a_tokenizer_is_trained_on_the_data(corpus: Path, tmp_path: Path) -> None:
    tokenizers = pytest.importorskip("tokenizers")
    manifest = prepared(tmp_path, 280, data=str(corpus), tokenizer="bpe")
    saved = tmp_path / "run" / "tokens" / "tokenizer.json"
    tokenizer = tokenizers.Tokenizer.from_file(str(saved))
    assert tokenizer.get_vocab_size() == manifest.vocab_size == 280
    tokens = all_tokens(manifest)
    assert tokens.count(tokenizer.token_to_id("<|endoftext|>")) == 2 * len(TEXTS) + 1
    assert tokenizer.decode(tokens) == "".join(TEXTS) * 2 + "\n".join(TEXTS)
    assert len(tokens) < 0.6 * len("".join(TEXTS) * 3)
    # and the same once more, from its file
    (tmp_path / "again").mkdir()
    again = prepared(tmp_path / "again", 300, data=str(corpus), tokenizer=str(saved))
    assert all_tokens(again) == tokens


def test_training_a_tokenizer_twice_gives_the_same(corpus: Path, tmp_path: Path) -> None:
    pytest.importorskip("tokenizers")
    saved = []
    for name in "xy":
        (tmp_path / name).mkdir()
        prepared(tmp_path / name, 400, data=str(corpus), tokenizer="bpe")
        saved.append((tmp_path / name / "run" / "tokens" / "tokenizer.json").read_text())
    assert saved[0] == saved[1]


def test_token_bins_are_read_in_place(tmp_path: Path) -> None:
    for number in range(3):
        np.arange(100 * number, 100 * number + 100, dtype="<u2").tofile(tmp_path / f"{number}.bin")
    manifest = prepared(tmp_path, 400, data=str(tmp_path / "[0-9].bin"))
    assert all_tokens(manifest) == list(range(300))


def test_another_run_takes_the_tokens_of_one(corpus: Path, tmp_path: Path) -> None:
    first = prepared(tmp_path, data=str(corpus))
    (tmp_path / "second").mkdir()
    second = prepared(tmp_path / "second", data=str(tmp_path / "run" / "data.json"))
    assert second.shards == first.shards
    assert not (tmp_path / "second" / "run" / "tokens").exists()


def damage(corpus: Path) -> dict[str, str]:
    """Spoil files, and return what should be said of each."""
    (corpus / "a.jsonl").write_text('{"text": "good"}\n{"text": \n')
    (corpus / "b.parquet").write_bytes((corpus / "b.parquet").read_bytes()[:-10])
    (corpus / "d.txt").write_bytes(b"\xff\xfe no UTF-8")
    (corpus / "e.jsonl").write_text('{"body": "elsewhere"}\n')
    (corpus / "f.jsonl").write_text('{"text": 3}\n')
    return {
        "a.jsonl": "line 2 is not JSON",
        "b.parquet": "Parquet",
        "d.txt": "not UTF-8 text",
        "e.jsonl": "line 1 has no 'text'",
        "f.jsonl": "line 1: 'text' is no text",
        "gone.jsonl": "No such file or directory",
    }


def test_bad_files_are_named_and_skipped_on_request(corpus: Path, tmp_path: Path) -> None:
    pytest.importorskip("tokenizers")
    reasons = damage(corpus)
    run = {"data": (str(corpus), str(corpus / "gone.jsonl")), "tokenizer": "bpe"}
    with pytest.raises(InputError, match=r"6 files cannot be read: .*a\.jsonl: line 2 .*3 more"):
        prepared(tmp_path, 300, **run)
    manifest = prepared(tmp_path, 300, **run, bad_shards="skip")
    found = {Path(each.path).name: each.reason for each in manifest.skipped}
    assert found.keys() == reasons.keys()
    for name, reason in reasons.items():
        assert reason in found[name]
    assert [Path(shard.source).name for shard in manifest.shards] == ["c.txt"]
    assert not list((tmp_path / "run" / "tokens").glob("*.part"))


def test_nothing_left_is_no_data(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"1 files cannot be read: .*gone\.txt"):
        prepared(tmp_path, data=str(tmp_path / "gone.txt"), bad_shards="skip")


def test_tokens_beyond_the_vocabulary_are_damage(tmp_path: Path) -> None:
    np.array([1, 2, 900], dtype="<u2").tofile(tmp_path / "a.bin")
    with pytest.raises(InputError, match="token 900 of a vocabulary of 400"):
        prepared(tmp_path, 400, data=str(tmp_path / "a.bin"))


@pytest.mark.parametrize(
    ("run", "vocab_size", "message"),
    [
        ({"data": "empty"}, 256, "there are no files in empty"),
        ({"data": "*.none"}, 256, r"there are no files in \*.none"),
        ({"data": "text"}, 100, "a vocabulary of 256 tokens, and model.vocab_size is 100"),
        ({"data": "text", "tokenizer": "bpe"}, 256, "has 257 entries or more"),
        ({"data": "text", "tokenizer": "gone.json"}, 256, "there is no file gone.json"),
    ],
)
def test_what_cannot_be_used(
    run: dict[str, object],
    vocab_size: int,
    message: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "empty").mkdir()
    with pytest.raises(InputError, match=message):
        prepared(tmp_path, vocab_size, **run)


def test_a_file_that_is_spoilt_later_keeps_its_place(corpus: Path, tmp_path: Path) -> None:
    """The run stops, goes on without the file when told so, and all other sequences stay."""
    run_dir = RunDir(tmp_path / "run")
    before = prepared(tmp_path, data=str(corpus))
    asked = scenario(data=str(corpus))
    n_steps = (TokenStore(before).n_tokens - 1) // (32 * 4)
    batches = [open_batches(asked, run_dir)(step, range(4)) for step in range(n_steps)]
    (run_dir.tokens / "000001.bin").write_bytes(b"short")
    with pytest.raises(InputError, match=r"000001.bin: shorter than when the run began"):
        [open_batches(asked, run_dir)(step, range(4)) for step in range(n_steps)]
    with pytest.raises(InputError, match=r"1 files cannot be read: .*000001.bin: 5 bytes"):
        prepared(tmp_path, data=str(corpus))
    after = prepared(tmp_path, data=str(corpus), bad_shards="skip")
    assert [each.n_tokens for each in after.skipped] == [before.shards[1].n_tokens]
    same = [
        (open_batches(asked, run_dir)(step, range(4)) == batches[step]).all(axis=1)
        for step in range(n_steps)
    ]
    assert 0.5 < np.mean(same) < 0.8  # two files of three are there


def test_when_every_file_is_spoilt_later_nothing_is_left(tmp_path: Path) -> None:
    for number in range(2):
        np.arange(100, dtype="<u2").tofile(tmp_path / f"{number}.bin")
    run = {"data": str(tmp_path / "[0-9].bin"), "bad_shards": "skip"}
    prepared(tmp_path, 400, **run)
    (tmp_path / "0.bin").write_bytes(b"short")
    assert len(prepared(tmp_path, 400, **run).skipped) == 1
    (tmp_path / "1.bin").unlink()
    with pytest.raises(InputError, match=r"2 files cannot be read: .*0\.bin.*1\.bin"):
        prepared(tmp_path, 400, **run)


def test_python_own_text_needs_no_download(tmp_path: Path) -> None:
    manifest = prepared(tmp_path)
    assert sum(shard.n_tokens for shard in manifest.shards) > 5e6
    assert not (tmp_path / "run" / "tokens").exists()
