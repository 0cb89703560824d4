"""Scenarios: what one may write, what it means, and what one is told about mistakes."""

from __future__ import annotations

from pathlib import Path
from textwrap import dedent

import pytest

from simulator import catalog
from simulator.catalog.cluster import parse_cluster, write_cluster_file
from simulator.catalog.scenario_file import load_scenario, scenario_from_flags
from simulator.catalog.yaml_text import to_yaml
from simulator.spec.choice import Within
from simulator.spec.errors import InputError, Mistakes


def write(folder: Path, text: str, name: str = "a.yaml") -> Path:
    file = folder / name
    file.write_text(dedent(text))
    return file


def mistakes(folder: Path, text: str, *overrides: str) -> list[str]:
    """Messages about a bad scenario, without the folder."""
    with pytest.raises(InputError) as caught:
        load_scenario(write(folder, text), overrides=overrides)
    errors = caught.value.errors if isinstance(caught.value, Mistakes) else (caught.value,)
    return [str(error).replace(f"{folder}/", "") for error in errors]


def test_the_scenario_of_the_design() -> None:
    scenario = load_scenario("scenarios/llama3-405b-on-16k-h100.yaml")
    assert scenario.name == "llama3-405b-on-16k-h100"
    assert scenario.model == catalog.find_model("llama3.1-405b")
    assert scenario.cluster.n_devices == 16384
    assert scenario.cluster.fabric.name == "rail-optimized-400g"
    assert scenario.job.tokens == 15_600_000_000_000
    assert scenario.job.batch_sequences == 2048
    assert scenario.goal.finish_within == 75 * 86400
    assert scenario.reliability.spares == 32
    assert scenario.seed == 7


@pytest.mark.parametrize("file", sorted(Path("scenarios").glob("*.yaml")), ids=lambda f: f.stem)
def test_every_shipped_scenario_loads(file: Path) -> None:
    assert load_scenario(file).name == file.stem


@pytest.mark.parametrize("file", sorted(Path("scenarios").glob("*.yaml")), ids=lambda f: f.stem)
def test_a_resolved_scenario_can_be_written_and_read(file: Path, tmp_path: Path) -> None:
    scenario = load_scenario(file)
    resolved = write(tmp_path, to_yaml(scenario, comment="resolved"))
    assert load_scenario(resolved) == scenario
    assert resolved.read_text().startswith("# resolved\n")


def test_flags_mean_what_a_file_means(tmp_path: Path) -> None:
    file = write(
        tmp_path,
        """\
        name: llama3-70b-on-h100-sxm-80gb-x64
        model: llama3-70b
        cluster: h100-sxm:64
        job: {tokens: 1T, sequence_length: 4k, global_batch_sequences: 512, precision: fp8}
        """,
    )
    flags = scenario_from_flags(
        model="llama3-70b",
        cluster="h100-sxm:64",
        tokens="1T",
        sequence_length="4k",
        batch="512",
        precision="fp8",
    )
    assert load_scenario(file) == flags


def test_a_model_and_a_cluster_can_start_from_the_catalog(tmp_path: Path) -> None:
    scenario = load_scenario(
        write(
            tmp_path,
            """\
            model: {base: mixtral-8x7b, n_layers: 4, moe: {n_experts: 16}}
            cluster:
              base: h100-sxm:64
              memory: 64 GiB
              fabric: {base: fat-tree-400g, oversubscription: 4}
            """,
        )
    )
    assert scenario.model.name == "mixtral-8x7b-variant"
    assert scenario.model.n_layers == 4
    assert scenario.model.moe is not None
    assert (scenario.model.moe.n_experts, scenario.model.moe.top_k) == (16, 2)
    assert scenario.cluster.n_devices == 64
    assert scenario.cluster.device.memory_bytes == 64 * 2**30
    assert scenario.cluster.fabric.oversubscription == 4
    assert scenario.cluster.fabric.kind == "fat-tree"


def test_a_model_of_ones_own(tmp_path: Path) -> None:
    scenario = load_scenario(
        write(
            tmp_path,
            """\
            model:
              name: mine
              n_layers: 2
              hidden_size: 64
              n_heads: 4
              n_kv_heads: 2
              head_dim: 16
              ffn_size: 128
              vocab_size: 256
            cluster: cpu:2
            """,
        )
    )
    assert scenario.model.name == "mine"
    assert scenario.cluster.n_nodes == 1
    assert scenario.cluster.devices_per_node == 2


def test_models_and_clusters_from_files_lie_beside_the_scenario(tmp_path: Path) -> None:
    folder = tmp_path / "parts"
    folder.mkdir()
    write(folder, '{"model_type": "gpt2"}', "config.json")
    write_cluster_file(folder / "mine.yaml", parse_cluster("h100-sxm:16"))
    write(folder, "model: ./config.json\ncluster: ./mine.yaml\n", "base.yaml")
    scenario = load_scenario(
        write(tmp_path, "extends: parts/base.yaml\ncluster: {nodes: 4}\n", "top.yaml")
    )
    assert scenario.model.n_layers == 12
    assert scenario.cluster.n_devices == 32
    assert scenario.name == "top"


def test_extending_changes_fields_and_keeps_the_rest(tmp_path: Path) -> None:
    write(
        tmp_path,
        """\
        model: mixtral-8x7b
        cluster: h100-sxm:64
        job: {tokens: 1T, global_batch_tokens: 4M}
        limits: {tp: 8, pp: 2}
        """,
        "base.yaml",
    )
    scenario = load_scenario(
        write(
            tmp_path,
            """\
            extends: base.yaml
            model: llama3-8b
            job: {global_batch_sequences: 256}
            limits: {pp: 4}
            """,
        )
    )
    assert scenario.model == catalog.find_model("llama3-8b")
    assert scenario.job.tokens == 10**12
    assert scenario.job.batch_sequences == 256
    assert (scenario.limits.tp, scenario.limits.pp) == (8, 4)


def test_limits_from_a_file_of_their_own(tmp_path: Path) -> None:
    rules = write(
        tmp_path, "tp: [2, 4]\npp: {max: 4}\nschedule: {exclude: [gpipe]}\n", "rules.yaml"
    )
    text = "model: llama3-8b\ncluster: h100-sxm:64\n"
    scenario = load_scenario(write(tmp_path, text + "limits: rules.yaml\n"))
    assert scenario.limits.tp == (2, 4)
    assert scenario.limits.pp == Within(max=4)
    bare = write(tmp_path, text, "bare.yaml")
    assert load_scenario(bare, overrides=[f"limits={rules}"]).limits == scenario.limits
    more = load_scenario(bare, overrides=[f"limits={rules}", "limits.tp=8"]).limits
    assert more == scenario.limits.model_copy(update={"tp": 8})


def test_a_mistake_in_a_file_of_limits_has_its_line_there(tmp_path: Path) -> None:
    write(tmp_path, "tp: 8\npp: {mim: 4}\n", "rules.yaml")
    text = "model: llama3-8b\ncluster: h100-sxm:64\nlimits: rules.yaml\n"
    (found,) = mistakes(tmp_path, text)
    assert found.endswith("rules.yaml:2: limits.pp.mim: unknown field; did you mean min?")


@pytest.mark.parametrize(
    ("limit", "message"),
    [
        ("tp={min: 8, max: 2}", "min=8 is more than max=2"),
        ("tp=[]", "allows nothing, not a list"),
        ("tp=[0, 2]", "limits.tp.0: should be greater than or equal to 1, not 0"),
        ("schedule=[fast]", "limits.schedule.0: should be 'gpipe', '1f1b'"),
        ("recompute={exclude: [some]}", "limits.recompute.exclude.0: "),
    ],
)
def test_limits_that_say_nothing(limit: str, message: str, tmp_path: Path) -> None:
    text = "model: llama3-8b\ncluster: h100-sxm:64\n"
    (found,) = mistakes(tmp_path, text, f"limits.{limit}")
    assert message in found


def test_overrides_reach_into_names() -> None:
    scenario = scenario_from_flags(
        model="llama3-8b",
        cluster="h100-sxm:64",
        overrides=["cluster.nodes=4", "model.n_layers=8", "job.tokens=2e9", "limits.tp=2"],
    )
    assert scenario.cluster.n_devices == 32
    assert scenario.model.n_layers == 8
    assert scenario.job.tokens == 2 * 10**9
    assert scenario.limits.tp == 2


def test_an_override_replaces_a_whole_part() -> None:
    scenario = scenario_from_flags(
        model="mixtral-8x7b",
        cluster="h100-sxm:64",
        overrides=["model.n_layers=8", "model=llama3-8b", "cluster=a100:8"],
    )
    assert scenario.model == catalog.find_model("llama3-8b")
    assert scenario.cluster.device.name == "a100-sxm-80gb"


@pytest.mark.parametrize(
    "override",
    [
        "model=llama3-8b",
        "cluster=h200:16",
        "cluster.device=h200",
        "cluster.device=gb200-nvl72",
        "cluster.fabric=ethernet-100g",
        "cluster.fabric=roce",
        "economics.price=aws-p5-2026-11",
        "economics.grid=france-2022",
        "reliability.profile=meta-rsc-1",
        "job.software=megatron-core-2024",
        "target=torchtitan",
    ],
)
@pytest.mark.parametrize("cluster", ["h100-sxm:64", "{base: 'h100-sxm:64', fabric: ethernet-25g}"])
def test_names_go_over_an_expanded_scenario(cluster: str, override: str, tmp_path: Path) -> None:
    """What a scenario says in names and what it says in full take the same changes."""
    short = write(tmp_path, f"name: a\nmodel: llama3-70b\ncluster: {cluster}\n")
    whole = write(tmp_path, to_yaml(load_scenario(short)), "whole.yaml")
    assert load_scenario(whole, overrides=[override]) == load_scenario(short, overrides=[override])


def test_another_device_keeps_the_number_of_devices() -> None:
    for override, n_devices in (("device=h200", 64), ("nodes=4", 32)):
        scenario = scenario_from_flags(
            model="llama3-8b",
            cluster="h100-sxm:64",
            overrides=[f"cluster.{override}", "cluster.device=b200"],
        )
        assert scenario.cluster.device.name == catalog.find_device("b200").name
        assert scenario.cluster.n_devices == n_devices


@pytest.mark.parametrize(
    ("override", "message"),
    [
        (
            "cluster.fabric=ethernet-10",
            "unknown fabric 'ethernet-10'; did you mean ethernet-10g or",
        ),
        ("cluster.device=h100-s", "unknown device 'h100-s'; did you mean h100-"),
        ("cluster.device=[h200]", "should be a valid string, not a list"),
        ("cluster.host=x", "should be a mapping of fields, not 'x'"),
        ("model=llama", "unknown model 'llama'; did you mean"),
    ],
)
def test_a_mistaken_name_over_an_expanded_scenario(
    override: str, message: str, tmp_path: Path
) -> None:
    whole = to_yaml(scenario_from_flags(model="llama3-70b", cluster="h100-sxm:64"))
    found = mistakes(tmp_path, whole, override)
    assert len(found) == 1
    assert found[0].startswith(f"--set {override.partition('=')[0]}: {message}")


def test_a_short_context_is_the_default_sequence_length() -> None:
    scenario = scenario_from_flags(model="gpt3-175b", cluster="a100:64")
    assert scenario.job.sequence_length == 2048


def test_all_mistakes_are_reported_at_once(tmp_path: Path) -> None:
    found = mistakes(
        tmp_path,
        """\
        model: {base: llama3-8c}
        cluster: {device: h100-sxm, nodess: 3}
        job:
          tokens: 1 parsec
          precision: bf17
        limits:
          tensor_paralel: 8
        reliability: {profile: llama3-16k}
        run: 5
        frobs: 3
        """,
    )
    assert found == [
        "a.yaml:1: unknown model 'llama3-8c'; did you mean llama3-8b or llama3.1-8b or llama3-70b?",
        "a.yaml:2: cluster.nodess: unknown field; did you mean nodes?",
        "a.yaml:4: job.tokens: unknown unit 'parsec' for a count; use one of k, K, M, G, B, T, Q, "
        "not '1 parsec'",
        "a.yaml:5: job.precision: should be 'fp32', 'bf16', 'fp16', 'fp8', 'mxfp8', 'nvfp4' "
        "or 'int8', not 'bf17'",
        "a.yaml:7: limits.tensor_paralel: unknown field; did you mean tp?",
        "a.yaml:8: unknown failure profile 'llama3-16k'; did you mean llama3-16k-h100?",
        "a.yaml:9: run: should be a mapping of fields, not 5",
        "a.yaml:10: frobs: unknown field; did you mean job?",
    ]


GOOD = "model: llama3-8b\ncluster: h100-sxm:64\n"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "a.yaml: holds no mapping of fields; start from `armillary init`"),
        ("- 1\n", "a.yaml: holds no mapping of fields; start from `armillary init`"),
        ("model: llama3-8b\n", "a.yaml:1: cluster: is missing or neither a name nor fields"),
        ("model: [a]\ncluster: cpu:2\n", "a.yaml:1: model: is missing or neither a name"),
        (GOOD + "model: llama3-70b\n", "a.yaml:3: 'model' is given twice; remove one of them"),
        (GOOD + "extends: a.yaml\n", "a.yaml:3: extends in a circle or too deep: a.yaml -> a.yaml"),
        (GOOD + "extends: http://x/y\n", "a.yaml:3: extends: must be the path of a local file"),
        (GOOD + "extends: 5\n", "a.yaml:3: extends: must be the path of a local file"),
        (GOOD + "extends: no.yaml\n", "no.yaml: cannot be read: No such file or directory"),
        (GOOD + "name: 'a\nb'\n", "name: String should match pattern"),
        (GOOD + "seed: -1\n", "a.yaml:3: seed: should be greater than or equal to 0, not -1"),
        (GOOD + "seed: .inf\n", "a.yaml:3: seed: should be a finite number, not inf"),
        (GOOD + "goal: {budget: .nan}\n", "a.yaml:3: goal.budget: should be a finite number"),
        (GOOD + "target: torchtitian\n", "a.yaml:3: unknown target 'torchtitian'; did you mean"),
        (GOOD + "job: {tokens: 1e300}\n", "a.yaml:3: job.tokens: should be less than or equal to"),
        (GOOD + "limits: {devices: 65}\n", "limits.devices: 65 exceeds the 64 devices of the"),
        (
            GOOD + "job: {precision: nvfp4}\n",
            "job.precision: h100-sxm-80gb has no nvfp4; use fp32 or bf16 or fp16 or fp8 or mxfp8",
        ),
        (
            "model: gpt3-175b\ncluster: a100:64\njob: {sequence_length: 4096}\n",
            "a.yaml:3: job.sequence_length: 4096 exceeds the 2048 learned positions of gpt3-175b",
        ),
        (
            "model: llama3-8b\ncluster: a100:8\neconomics: {price: lambda-2026-09}\n",
            "a.yaml:3: economics.price: lambda-2026-09 is a price of h100-sxm-80gb, not of a100",
        ),
        (
            "model: {base: llama3-8b, n_heads: 7}\ncluster: cpu:2\n",
            "a.yaml:1: model: n_heads=7 is not a multiple of n_kv_heads=8",
        ),
        (
            "model: llama3-8b\ncluster: h100-sxm:65\n",
            "a.yaml:2: devices=65 is not nodes x devices per node = 8 x 8; use 64 or 72 devices",
        ),
        ("model: llama3-8b\ncluster: h100 sxm\n", "is not a device with a count; write it like"),
        (
            GOOD + "job: {global_batch_tokens: 4M, global_batch_sequences: 8}\n",
            "a.yaml:3: job: give global_batch_sequences or global_batch_tokens, not both",
        ),
    ],
)
def test_a_mistake_says_where_and_what(text: str, message: str, tmp_path: Path) -> None:
    found = mistakes(tmp_path, text)
    assert len(found) == 1
    assert message in found[0]


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("job.tokens", "--set 'job.tokens'; write it like job.tokens=1T"),
        ("=3", "--set '=3'; write it like job.tokens=1T"),
        ("job..tokens=3", "--set 'job..tokens=3'; write it like job.tokens=1T"),
        ("job.tokens=[1", "--set job.tokens:1: not valid YAML"),
        ("job.tokens=[1]", "--set job.tokens: should be a valid integer, not a list"),
        ("job=3", "--set job: should be a mapping of fields, not 3"),
        ("cluster.scale_up=x", "--set cluster.scale_up: should be a mapping of fields, not 'x'"),
        ("model=3", "--set model: is missing or neither a name nor fields; write model: llama"),
        ("limits.tpp=3", "--set limits.tpp: unknown field; did you mean tp?"),
        ("model=lama", "--set model: unknown model 'lama'"),
        ("cluster=cpu:x", "--set cluster: cluster 'cpu:x' is not a device with a count"),
        ("seed=" + "9" * 6000, "cannot be read; write fewer digits"),
        ("goal.finish_within=2020-01-01", "a date is not a duration; write a number with one of s"),
        ("reliability.spares=9", "--set reliability.spares: 9 is more than the 8 nodes"),
    ],
)
def test_a_mistaken_override_names_its_flag(override: str, message: str, tmp_path: Path) -> None:
    found = mistakes(tmp_path, GOOD, override)
    assert len(found) == 1
    assert message in found[0]


def test_a_cluster_file_cannot_start_from_itself(tmp_path: Path) -> None:
    write(tmp_path, "base: ./c.yaml\n", "c.yaml")
    found = mistakes(tmp_path, "model: llama3-8b\ncluster: ./c.yaml\n")
    assert found == [
        "c.yaml:1: base: a cluster file cannot start from another file; start from a device and a "
        "count, like h100-sxm:64"
    ]


def test_mistaken_flags_are_named() -> None:
    with pytest.raises(InputError) as caught:
        scenario_from_flags(model="llama3-8", cluster="h100:64", tokens="many", precision="bf8")
    assert [error.where for error in caught.value.errors] == [  # type: ignore[attr-defined]
        "--model",
        "--tokens",
        "--precision",
    ]
