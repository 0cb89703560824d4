"""Exports: there and back again, and refused where they would say something else."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from planner.export import EXPORTERS, find_exporter
from planner.export.exporter import steps_between_checkpoints
from planner.export.kubernetes_objects import objects
from planner.export.settings import script_flags
from planner.export.torchtitan import BASES, RECIPE
from planner.space import Space
from simulator.catalog import find_model
from simulator.catalog.scenario_file import scenario_from_flags
from simulator.spec.errors import InputError
from simulator.spec.learning import LearningSpec
from simulator.spec.plan_file import PlanFile
from simulator.spec.reliability import CheckpointTier
from simulator.spec.target import LAUNCHERS, OWN_TARGET, TARGETS
from tests.planner.export.plans import PAIRS, PLANS, plan_file


@pytest.mark.parametrize(("target", "name"), PAIRS)
def test_there_and_back_again(target: str, name: str) -> None:
    file = plan_file(name)
    exporter = find_exporter(target)
    found = exporter.read_back(exporter.export(file), file.scenario)
    assert found == file.plan


@pytest.mark.parametrize(
    ("target", "model"),
    [
        ("torchtitan", "llama3-8b"),
        ("torchtitan", "qwen3-0.6b"),
        ("torchtitan", "qwen3-30b-a3b"),
        ("torchtitan", "deepseek-v3"),
        ("megatron", "llama3-8b"),
        ("megatron", "mixtral-8x7b"),
        ("megatron", "deepseek-v3"),
        ("deepspeed", "llama3-8b"),
        ("accelerate", "llama3-8b"),
    ],
)
def test_what_the_search_offers_to_a_target_can_be_exported(target: str, model: str) -> None:
    scenario = scenario_from_flags(
        model=model, cluster="h100-sxm:16", tokens="1B", batch="32", sequence_length="2048"
    ).model_copy(update={"target": target})
    exporter, example, seen = find_exporter(target), plan_file("ddp"), 0
    for table in Space.of(scenario).tables():
        for row in range(0, len(table), 1 + len(table) // 60):
            plan = table.plan(row, scenario.job.precision)
            file = example.model_copy(update={"scenario": scenario, "plan": plan})
            assert exporter.read_back(exporter.export(file), scenario) == plan
            seen += 1
    assert seen > 10


@pytest.mark.parametrize(
    ("target", "name", "changes", "message"),
    [
        # What torchtitan's ParallelDims lets through.
        ("torchtitan", "moe with ep, fsdp", {"dp_replicate": 64, "dp_shard": 1, "zero_stage": 0},
         "ep that does not divide dp_shard x cp x tp"),
        ("torchtitan", "cp", {"dp_shard": 1, "zero_stage": 0},
         "cp > 1 with zero_stage=0"),
        ("torchtitan", "fsdp x tp", {"tp": 16, "dp_shard": 4}, "tp that does not divide the key"),
        ("torchtitan", "moe with ep and multi-token prediction, fsdp", {"pp": 2, "dp_replicate": 1},
         "multi-token prediction with pp > 1"),
        ("torchtitan", "fsdp", {"zero_stage": 1}, "torchtitan cannot run zero_stage=1"),
        ("torchtitan", "gpt x zero2", {}, "torchtitan cannot run gpt3-175b"),
        # What Megatron's TransformerConfig lets through.
        ("megatron", "mixtral", {"ep": 16},
         "n_experts=8 is not divisible by ep=16"),
        ("megatron", "zero1 x tp x pp", {"pp": 5}, "= 80 ranks, and the cluster has 64 devices"),
        ("megatron", "zero1 x tp x pp, interleaved", {"virtual_stages": 30},
         "= 120 chunks, and the model has 80 layers"),
        ("megatron", "fsdp", {}, "megatron cannot run zero_stage=3"),
        ("megatron", "mixtral", {"sequence_parallel": False}, "experts under tp without"),
        ("megatron", "mixtral", {"dp_replicate": 32, "dp_shard": 1},
         "several optimizer instances and ep"),
        # What DeepSpeed's JSON cannot say, or DeepSpeed finds only when running.
        ("deepspeed", "fsdp x tp", {}, "deepspeed cannot run sequence_parallel"),
        ("deepspeed", "fsdp x tp", {"sequence_parallel": False, "tp": 16, "dp_shard": 4},
         "tp that does not divide the key"),
        ("deepspeed", "zero1 x tp x pp", {"sequence_parallel": False}, "tp .* together with pp"),
        ("deepspeed", "mixtral", {"sequence_parallel": False}, "deepspeed cannot run ep=8"),
        ("deepspeed", "hsdp", {"recompute": "none"}, "dp_replicate and dp_shard together"),
        ("deepspeed", "ddp", {"zero_stage": 1}, "dp_replicate > 1 under a ZeRO stage"),
        ("torchrun", "mixtral", {"sequence_parallel": False},
         "armillary cannot run experts spread"),
        ("slurm", "fsdp", {"pp": 2, "dp_shard": 32}, "armillary cannot run zero_stage=3"),
        ("kubernetes", "fsdp", {"pp": 2, "dp_shard": 32}, "armillary cannot run zero_stage=3"),
    ],
)  # fmt: skip
def test_refused(target: str, name: str, changes: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        find_exporter(target).export(plan_file(name, **changes))


@pytest.mark.parametrize(
    ("target", "name", "changes", "message"),
    [
        ("torchtitan", "ddp", {"n_layers": 31}, "llama3-8b was changed in the scenario"),
        ("megatron", "ddp", {"activation": "gelu"}, "activation gelu with a gate"),
        ("megatron", "ddp", {"parallel_residual": True}, "attention and feed-forward side by side"),
        ("megatron", "ddp", {"ffn_bias": True}, "biases in attention or feed-forward alone"),
        ("megatron", "gpt x zero1 x pp", {"max_positions": 1024}, "1024 learned positions"),
    ],
)
def test_a_model_that_the_target_has_no_words_for(
    target: str, name: str, changes: dict[str, Any], message: str
) -> None:
    file = plan_file(name)
    model = file.scenario.model.model_copy(update=changes)
    scenario = file.scenario.model_copy(update={"model": model})
    with pytest.raises(InputError, match=message):
        find_exporter(target).export(file.model_copy(update={"scenario": scenario}))


@pytest.mark.parametrize(
    ("target", "name", "advice"),
    [
        # Experts and cp: no plan of that kind will do, and these can run the very plan.
        ("torchtitan", "mixtral", "--to torchrun or --to megatron takes the plan as it is"),
        # The model is one of its own, the plan is not.
        ("torchtitan", "fsdp x tp", "plan again with --target torchtitan"),
        ("deepspeed", "fsdp x tp", "plan again with --target deepspeed"),
    ],
)
def test_a_refusal_names_what_can_help(target: str, name: str, advice: str) -> None:
    changes = {"tp": 16, "dp_shard": 4} if target == "torchtitan" and "fsdp" in name else {}
    with pytest.raises(InputError) as caught:
        find_exporter(target).export(plan_file(name, **changes))
    assert caught.value.fix == advice


def test_a_refused_model_is_sent_to_targets_that_have_plans_for_it() -> None:
    file = plan_file("gpt x zero2")
    with pytest.raises(InputError) as caught:
        find_exporter("torchtitan").export(file)
    fix = str(caught.value.fix)
    assert "deepspeed" in fix
    assert "torchtitan" not in fix


def test_an_export_by_our_own_runtime_trains_the_whole_job() -> None:
    """`armillary run` tries a few steps; what Slurm starts must not end after them."""
    file = plan_file("tiny")
    for target in ("torchrun", "slurm"):
        text = find_exporter(target).export(file).text("plan.json")
        run = PlanFile.model_validate_json(text).scenario.run
        assert run.steps == file.scenario.job.n_steps > 20
        assert run.checkpoint_every_steps > 0


LEARNING = {
    "learning_rate": 3e-4, "warmup_steps": 100, "learning_rate_decay": "cosine",
    "final_learning_rate": 3e-5, "adam_beta1": 0.0, "adam_beta2": 0.98, "adam_epsilon": 1e-6,
    "weight_decay": 0.05, "max_gradient_norm": 0.5,
}  # fmt: skip


def with_learning(name: str, **values: Any) -> PlanFile:
    file = plan_file(name)
    run = file.scenario.run.model_copy(update=values)
    return file.model_copy(update={"scenario": file.scenario.model_copy(update={"run": run})})


def test_hyper_parameters_that_are_unset_are_not_made_up() -> None:
    file = plan_file("ddp")
    megatron = find_exporter("megatron").export(file)
    given = script_flags(megatron.text("megatron.args"), "megatron.args")
    assert not {"--lr", "--weight-decay", "--clip-grad", "--adam-beta2"} & set(given)
    assert "run.learning_rate: --lr, else none: launch.sh asks for it" in megatron.notes.to_set
    assert megatron.start.endswith("--lr RATE")
    config = json.loads(find_exporter("deepspeed").export(file).text("ds_config.json"))
    assert config["optimizer"]["params"] == {}
    assert not {"scheduler", "gradient_clipping"} & set(config)
    recipe = find_exporter("torchtitan").export(file).text(RECIPE)
    assert "OPTIMIZER = {}\nSCHEDULE = {}\n" in recipe
    assert "max_norm" not in recipe
    for target in EXPORTERS:
        unset = find_exporter(target).export(plan_file(WITH[target])).notes.to_set
        assert sum(line.startswith("run.") for line in unset) == len(LearningSpec.model_fields)


WITH = dict.fromkeys(("accelerate", "torchtitan", "megatron", "deepspeed"), "ddp")
WITH |= dict.fromkeys(LAUNCHERS, "tiny")


@pytest.mark.parametrize("target", WITH)
def test_hyper_parameters_that_are_given_leave_nothing_to_set(target: str) -> None:
    assert set(LEARNING) == set(LearningSpec.model_fields)
    notes = find_exporter(target).export(with_learning(WITH[target], **LEARNING)).notes
    assert not [line for line in notes.to_set if line.startswith("run.")]
    assert not [line for line in notes.dropped if "rate" in line]


def test_hyper_parameters_in_the_words_of_each_target() -> None:
    file = with_learning("ddp", **LEARNING)
    text = find_exporter("megatron").export(file).text("megatron.args")
    given = script_flags(text, "megatron.args")
    assert {
        "--lr": "0.0003", "--lr-warmup-iters": "100", "--lr-decay-style": "cosine",
        "--min-lr": "3e-05", "--adam-beta1": "0.0", "--adam-beta2": "0.98", "--adam-eps": "1e-06",
        "--weight-decay": "0.05", "--clip-grad": "0.5",
    }.items() <= given.items()  # fmt: skip
    config = json.loads(find_exporter("deepspeed").export(file).text("ds_config.json"))
    assert config["gradient_clipping"] == 0.5
    assert config["optimizer"]["params"] == {
        "lr": 3e-4, "betas": [0.0, 0.98], "eps": 1e-6, "weight_decay": 0.05,
    }  # fmt: skip
    assert config["scheduler"] == {
        "type": "WarmupCosineLR",
        "params": {
            "warmup_num_steps": 100, "warmup_type": "linear", "cos_min_ratio": pytest.approx(0.1),
            "total_num_steps": file.scenario.job.n_steps,
        },
    }  # fmt: skip
    recipe = find_exporter("torchtitan").export(file).text(RECIPE)
    for line in (
        "'lr': 0.0003", "'betas': (0.0, 0.98)", "'eps': 1e-06", "'weight_decay': 0.05",
        "'warmup_steps': 100", "'decay_type': 'cosine'", "'decay_ratio': None", "'max_norm': 0.5",
    ):  # fmt: skip
        assert f"    {line},\n" in recipe


def test_norms_and_rotary_positions_in_the_words_of_megatron() -> None:
    """Its own are base 10000, epsilon 1e-5 and, for latent attention, YaRN."""

    def given(name: str, model: str) -> dict[str, object]:
        file = plan_file(name)
        scenario = file.scenario.model_copy(update={"model": find_model(model)})
        file = file.model_copy(update={"scenario": scenario})
        text = find_exporter("megatron").export(file).text("megatron.args")
        return script_flags(text, "megatron.args")

    llama = given("ddp", "llama3.1-8b")
    assert llama["--rotary-base"] == "500000"  # it takes whole numbers only
    assert llama["--norm-epsilon"] == "1e-05"
    assert ("--use-rope-scaling" in llama, llama["--rope-scaling-factor"]) == (True, "8.0")
    assert "--use-rope-scaling" not in given("ddp", "llama3-8b")
    deepseek = given("moe with ep", "deepseek-v3")
    assert {
        "--norm-epsilon": "1e-06", "--init-method-std": "0.006", "--rope-type": "yarn",
        "--rotary-scaling-factor": "40.0", "--mscale": "1.0", "--mscale-all-dim": "1.0",
        "--moe-router-score-function": "sigmoid", "--moe-router-topk-scaling-factor": "2.5",
        "--moe-router-num-groups": "8", "--moe-router-group-topk": "4",
        "--moe-router-load-balancing-type": "seq_aux_loss", "--moe-aux-loss-coeff": "0.0001",
        "--moe-router-enable-expert-bias": "", "--moe-router-bias-update-rate": "0.001",
    }.items() <= deepseek.items()  # fmt: skip
    mixtral = given("mixtral", "mixtral-8x7b")
    assert mixtral["--moe-router-load-balancing-type"] == "aux_loss"
    assert mixtral["--moe-aux-loss-coeff"] == "0.02"


def test_ranks_must_fill_whole_nodes() -> None:
    decisions = {"dp_replicate": 4, "dp_shard": 1, "zero_stage": 0, "pp": 3}
    with pytest.raises(InputError, match="12 ranks do not fill nodes of 8 devices"):
        find_exporter("torchrun").export(plan_file("tiny in 16 processes on nodes", **decisions))


def test_unknown_targets_are_told_near_names() -> None:
    with pytest.raises(InputError, match="did you mean megatron"):
        find_exporter("megatorn")


def test_what_cannot_be_said_is_listed_and_stands_in_the_files() -> None:
    export = find_exporter("deepspeed").export(plan_file("gpt x zero1 x pp"))
    pipeline = next(what for what in export.notes.dropped if what.startswith("pp=8"))
    assert "PipelineModule(num_stages=8)" in pipeline
    assert f"# not expressed: {pipeline}" in export.text("launch.sh")


def test_deepspeed_under_zero_3_with_tp_needs_a_release_that_takes_it() -> None:
    needed = "DeepSpeed 0.19.4 or newer: tp under ZeRO 3"
    decided = {"sequence_parallel": False}
    for zero_stage, says in ((3, True), (2, False)):
        file = plan_file("fsdp x tp", **decided, zero_stage=zero_stage)
        assert (needed in find_exporter("deepspeed").export(file).notes.needs) is says


def test_deepspeed_keys_are_its_own() -> None:
    """DeepSpeed does not check its top-level keys, so they are compared with its documentation."""
    known = {
        "train_batch_size", "train_micro_batch_size_per_gpu", "gradient_accumulation_steps",
        "gradient_clipping", "optimizer", "zero_optimization", "bf16", "fp16", "data_types",
        "communication_data_type", "tensor_parallel", "pipeline", "activation_checkpointing",
    }  # fmt: skip
    for target, name in PAIRS:
        if target == "deepspeed":
            export = find_exporter(target).export(plan_file(name))
            assert json.loads(export.text("ds_config.json")).keys() <= known


def test_megatron_divides_stages_as_the_plan_does() -> None:
    text = find_exporter("megatron").export(plan_file("moe with ep")).text("megatron.args")
    chunks = ["Etttttttt", *["t" * 8] * 4, *["t" * 7] * 2, "tttttttmL"]  # 61 layers, one MTP
    assert f"--pipeline-model-parallel-layout '{'|'.join(chunks)}'\n" in text


def test_the_predicted_checkpoint_interval_is_written_in_steps() -> None:
    file = plan_file("ddp")
    step_s = file.prediction.step.step_s
    interval_s = file.prediction.campaign.checkpoint_interval_s
    text = find_exporter("megatron").export(file).text("megatron.args")
    assert f"--save-interval {round(interval_s / step_s)}\n" in text
    planned = file.model_copy(
        update={"plan": file.plan.model_copy(update={"checkpoint_interval_s": 7 * step_s})}
    )
    assert "--save-interval 7\n" in find_exporter("megatron").export(planned).text("megatron.args")


def test_steps_that_wait_for_data_are_saved_as_often() -> None:
    """Intervals are work, and a wait for data is none."""
    file = plan_file("ddp")
    step = file.prediction.step
    breakdown = step.breakdown.model_copy(update={"input_s": step.step_s})
    waiting = step.model_copy(update={"step_s": 2 * step.step_s, "breakdown": breakdown})
    prediction = file.prediction.model_copy(update={"step": waiting})
    starved = file.model_copy(update={"prediction": prediction})
    assert steps_between_checkpoints(starved) == steps_between_checkpoints(file) > 1


NASTY = "0.1\nrm -rf /", "$(id)", "`id`", "x'; id; '", "a\u2028b", "a b", ""


@pytest.mark.parametrize("text", NASTY)
def test_no_line_is_built_from_free_text(text: str) -> None:
    """Names and the version reach scripts and #SBATCH lines: the schema allows few letters."""
    file = plan_file("tiny").model_dump(mode="json")
    model, device = file["scenario"]["model"], file["scenario"]["cluster"]["device"]
    fields = (
        (file["provenance"], "armillary_version"),
        (file["scenario"], "name"),
        (model, "name"),
        (device, "name"),
    )
    PlanFile.model_validate(file)
    for owner, field in fields:
        good, owner[field] = owner[field], text
        with pytest.raises(ValidationError, match="pattern"):
            PlanFile.model_validate(file)
        owner[field] = good


def test_cores_are_asked_for_where_somebody_said_how_many_a_node_has() -> None:
    """The catalog only assumes those around an H100, so Slurm is left to allot them."""
    file = plan_file("tiny in 16 processes on nodes")
    unknown = find_exporter("slurm").export(file).text("job.sbatch")
    assert "#SBATCH --cpus-per-task" not in unknown
    assert "# How many cores a node has is not known" in unknown
    assert 'srun --cpus-per-task="${SLURM_CPUS_ON_NODE:-1}" ' in unknown
    cluster = file.scenario.cluster
    host = cluster.host.model_copy(update={"n_cores": 96})
    scenario = file.scenario.model_copy(
        update={"cluster": cluster.model_copy(update={"host": host})}
    )
    said = find_exporter("slurm").export(file.model_copy(update={"scenario": scenario}))
    assert "#SBATCH --cpus-per-task=96\n" in said.text("job.sbatch")
    assert 'srun --cpus-per-task="96" ' in said.text("job.sbatch")


def test_sbatch_lines() -> None:
    file = plan_file("tiny in 16 processes on nodes")
    text = find_exporter("slurm").export(file).text("job.sbatch")
    assert [line for line in text.splitlines() if line.startswith("#SBATCH")] == [
        f"#SBATCH --job-name={file.scenario.name}",
        "#SBATCH --nodes=2",
        "#SBATCH --ntasks-per-node=1",
        "#SBATCH --output=slurm-%j.out",
        "#SBATCH --gpus-per-node=8",
        "#SBATCH --exclusive",
    ]


@pytest.mark.parametrize(
    ("n_restarts", "has_begun", "given", "handed_on"),
    [
        (None, False, [], ""),
        (None, True, [], ""),
        ("0", True, [], ""),
        (None, True, ["--resume"], "--resume"),
        ("1", True, [], "--resume"),
        ("2", False, [], ""),
    ],
)
def test_a_slurm_job_that_is_started_again_goes_on(
    n_restarts: str | None, has_begun: bool, given: list[str], handed_on: str, tmp_path: Path
) -> None:
    export = find_exporter("slurm").export(plan_file("tiny in 16 processes on nodes"))
    (tmp_path / "job.sbatch").write_text(export.text("job.sbatch"))
    for tool, text in (("scontrol", "echo node1"), ("srun", 'echo "$@"')):
        (tmp_path / tool).write_text(f"#!/bin/sh\n{text}\n")
        (tmp_path / tool).chmod(0o755)
    if has_begun:
        (tmp_path / "run").mkdir()
        (tmp_path / "run" / "plan.json").write_text("{}")
    path = f"{tmp_path}:{os.environ['PATH']}"
    slurm = {"PATH": path, "SLURM_JOB_NODELIST": "node[1-2]", "SLURM_JOB_ID": "7"}
    if n_restarts is not None:
        slurm["SLURM_RESTART_COUNT"] = n_restarts
    done = subprocess.run(
        ["bash", "job.sbatch", *given],
        cwd=tmp_path, env=slurm, check=True, capture_output=True, text=True,
    )  # fmt: skip
    assert done.stdout.strip().partition("./launch.sh")[2].strip() == handed_on


def test_a_kubernetes_job_says_how_to_go_on() -> None:
    task = pytest.importorskip("runtime.torchrun").Task
    text = find_exporter("kubernetes").export(plan_file("tiny")).text("job.yaml")
    head = text[: text.index("apiVersion")]
    (job,) = (each for each in objects(text) if each["kind"] == "Job")
    assert f"kubectl delete job {job['metadata']['name']},\n# add --resume" in head
    words = job["spec"]["template"]["spec"]["containers"][0]["command"]
    arguments = words[words.index("runtime.torchrun") + 1 :]
    assert not task.of(arguments).resume
    assert task.of([*arguments, "--resume"]).resume


@pytest.mark.parametrize(
    ("attempt", "begun", "last"),
    [("0", False, "run"), ("3", False, "run"), ("3", True, "--resume")],
)
def test_a_job_set_that_starts_again_goes_on(
    attempt: str, begun: bool, last: str, tmp_path: Path
) -> None:
    export = find_exporter("kubernetes-jobset").export(plan_file("tiny"))
    (job_set,) = (each for each in objects(export.text("job.yaml")) if each["kind"] == "JobSet")
    (nodes,) = job_set["spec"]["replicatedJobs"]
    shell = nodes["template"]["spec"]["template"]["spec"]["containers"][0]["command"]
    run = tmp_path / "run"
    torchrun = tmp_path / "torchrun"
    torchrun.write_text("#!/bin/sh\nfor word; do last=$word; done; echo ${last##*/}\n")
    torchrun.chmod(0o755)
    if begun:
        run.mkdir()
        (run / "plan.json").touch()
    name = job_set["metadata"]["name"]
    words = [word.replace(f"/runs/{name}", str(run)) for word in shell]
    done = subprocess.run(
        words, capture_output=True, text=True, check=True,
        env={"PATH": f"{tmp_path}{os.pathsep}{os.defpath}", "ATTEMPT": attempt},
    )  # fmt: skip
    assert done.stdout.strip() == last


def test_the_restarts_of_a_job_set_are_those_that_the_campaign_expects() -> None:
    file = plan_file("tiny in 16 processes on nodes")
    export = find_exporter("kubernetes-jobset").export(file)
    (job_set,) = (each for each in objects(export.text("job.yaml")) if each["kind"] == "JobSet")
    allowed = job_set["spec"]["failurePolicy"]["maxRestarts"]
    assert allowed >= file.prediction.campaign.expected_failures
    assert f"go on, for at most {allowed} failures" in export.text("job.yaml")


def test_the_pods_of_a_pytorch_job_meet_at_its_master() -> None:
    export = find_exporter("kubernetes-pytorchjob").export(
        plan_file("tiny in 16 processes on nodes")
    )
    found = {each["kind"]: each for each in objects(export.text("job.yaml"))}
    service = found["Service"]
    replicas = found["PyTorchJob"]["spec"]["pytorchReplicaSpecs"]
    master = replicas["Master"]["template"]
    host = f"{master['spec']['hostname']}.{service['metadata']['name']}"
    assert master["spec"]["subdomain"] == service["metadata"]["name"]
    for each in replicas.values():
        pod = each["template"]
        assert pod["metadata"]["labels"].items() >= service["spec"]["selector"].items()
        words = pod["spec"]["containers"][0]["command"]
        assert words[words.index("--rdzv-endpoint") + 1] == f"{host}:29400"


def test_a_device_without_a_kubernetes_resource_is_refused() -> None:
    file = plan_file("tiny in 16 processes on nodes")
    cluster = file.scenario.cluster
    device = cluster.device.model_copy(update={"vendor": "Someone"})
    scenario = file.scenario.model_copy(
        update={"cluster": cluster.model_copy(update={"device": device})}
    )
    with pytest.raises(InputError, match="no Kubernetes resource is known for h100-sxm-80gb"):
        find_exporter("kubernetes").export(file.model_copy(update={"scenario": scenario}))


def test_torchtitan_has_a_recipe_for_each_model_that_it_is_said_to_have() -> None:
    assert set(TARGETS["torchtitan"].models) == set(BASES)


def test_the_launchers_are_the_exports_that_our_own_target_runs() -> None:
    ours = {name for name, exporter in EXPORTERS.items() if exporter.executor == OWN_TARGET}
    assert ours == set(LAUNCHERS)


def with_store(name: str, *, blocking: bool) -> PlanFile:
    file = plan_file(name)
    store = CheckpointTier(
        name="store", survives="region", write_bandwidth_bytes_per_s=1e11, blocking=blocking
    )
    reliability = file.scenario.reliability.model_copy(update={"checkpoint_tiers": (store,)})
    scenario = file.scenario.model_copy(update={"reliability": reliability})
    return file.model_copy(update={"scenario": scenario})


def test_saves_are_asynchronous_where_the_prediction_has_them_so() -> None:
    for file in (plan_file("ddp"), with_store("ddp", blocking=False)):
        megatron = find_exporter("megatron").export(file)
        given = script_flags(megatron.text("megatron.args"), "megatron.args")
        assert (given["--async-save"], given["--ckpt-format"]) == ("", "torch_dist")
        assert any("nvidia-resiliency-ext" in line for line in megatron.notes.needs)
        recipe = find_exporter("torchtitan").export(file).text(RECIPE)
        assert "    config.checkpoint.async_mode = 'async'\n" in recipe
        for target in ("deepspeed", "accelerate", *LAUNCHERS):
            dropped = find_exporter(target).export(file).notes.dropped
            assert any(line.startswith("asynchronous saves") for line in dropped)


def test_saves_are_synchronous_where_training_is_predicted_to_wait() -> None:
    file = with_store("ddp", blocking=True)
    megatron = find_exporter("megatron").export(file)
    assert "--async-save" not in script_flags(megatron.text("megatron.args"), "megatron.args")
    assert not any("async" in line for line in megatron.notes.needs)
    recipe = find_exporter("torchtitan").export(file).text(RECIPE)
    assert "    config.checkpoint.async_mode = 'disabled'\n" in recipe
    for target in ("deepspeed", "accelerate", *LAUNCHERS):
        dropped = find_exporter(target).export(file).notes.dropped
        assert not any(line.startswith("asynchronous saves") for line in dropped)


@pytest.mark.parametrize(
    ("given", "accepted"),
    [
        (["--lr", "3e-4"], True),
        (["--lr=3e-4"], True),
        ([], False),
        (["--lr-warmup-iters=9"], False),
    ],
)
def test_megatron_starts_with_a_learning_rate_in_either_form(
    given: list[str], accepted: bool, tmp_path: Path
) -> None:
    for file in find_exporter("megatron").export(plan_file("ddp")).files:
        (tmp_path / file.name).write_text(file.text)
    (tmp_path / "pretrain_gpt.py").touch()
    (tmp_path / "torchrun").write_text('#!/bin/sh\necho "$@"\n')
    (tmp_path / "torchrun").chmod(0o755)
    names = {"MEGATRON_LM": str(tmp_path), "HEAD_NODE": "node1", "RUN_ID": "7"}
    done = subprocess.run(
        ["bash", "launch.sh", *given],
        cwd=tmp_path, env=names | {"PATH": f"{tmp_path}:{os.environ['PATH']}"},
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == (0 if accepted else 1), done.stderr
    if accepted:
        assert done.stdout.rstrip().endswith(" ".join(given))
    else:
        assert "launch.sh: give a learning rate" in done.stderr


def test_a_kubernetes_job_says_which_network_the_prediction_assumes() -> None:
    needed = {
        name: find_exporter("kubernetes").export(plan_file(name)).notes.needs
        for name in ("tiny", "tiny in 16 processes on nodes")
    }
    network = "a network of 400 Gb/s per device between the nodes"
    assert any(line.startswith(network) for line in needed["tiny in 16 processes on nodes"])
    assert not any("network" in line for line in needed["tiny"])


def test_every_plan_is_used() -> None:
    assert {name for _, name in PAIRS} == set(PLANS)
    assert {target for target, _ in PAIRS} == set(EXPORTERS)


@pytest.mark.parametrize("version", ["1.0\ntouch /tmp/x", "1.0 ; x", "", "$(x)"])
def test_a_version_cannot_become_a_line_of_a_script(version: str) -> None:
    """It stands in the header of every exported script, and a plan file is a stranger's."""
    provenance = plan_file("tiny").provenance
    with pytest.raises(ValueError, match="pattern"):
        type(provenance).model_validate(provenance.model_dump() | {"armillary_version": version})
