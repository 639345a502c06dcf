"""What a training process is asked for and cannot do: one line says it, on any machine."""

from __future__ import annotations

import re

import pytest
import torch
import train_helpers as helpers

from scalebook.contract import UsageError
from scalebook.train import failures, loop, model


@pytest.fixture
def root(tmp_path, monkeypatch):
    monkeypatch.setenv("SCALEBOOK_ROOT", str(tmp_path))
    return helpers.study(tmp_path)


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"precision": "fp8"}, "training.precision: 'fp8' is not allowed: it is one of fp32, "),
        ({"stem": "small"}, "training.stem: 'small' is not allowed: it is one of imagenet, cifar"),
        ({"lr_scaling": "log"}, "training.lr_scaling: 'log' is not allowed"),
        ({"source": "mnist"}, "dataset.source: 'mnist' is not allowed"),
        ({"device": "tpu"}, "layout.device: 'tpu' is not allowed: it is one of cpu, gpu"),
        ({"epochs": 0}, "training.epochs: 0 is not allowed: it is a number from 1"),
        ({"lr": float("nan")}, "training.lr: nan is not allowed: it is a number above 0"),
        ({"timeout_s": 0.0}, "training.timeout_s: 0.0 is not allowed"),
        ({"crop_padding": -1}, "training.crop_padding: -1 is not allowed: it is a number from 0"),
        ({"seed": 2**70}, "seed: .* is not allowed: it is a number from 0 to 2147483647"),
    ],
)
def test_a_resolved_experiment_written_by_hand_is_checked(root, capfd, changes, said):
    helpers.study(root, **changes)
    assert helpers.train(root) == 1
    (line,) = capfd.readouterr().err.splitlines()
    assert line.startswith("scalebook.train: resolved.json: ")
    assert re.search(said, line)


def test_a_misspelt_model_is_told_which_there_are(root, capfd):
    helpers.study(root, model="resnet_18")
    assert helpers.train(root) == 2
    assert "torchvision has no such model, but resnet18" in capfd.readouterr().err


def test_a_torch_that_cannot_compile_at_all(root, capfd, monkeypatch):
    def refuses(_):
        raise RuntimeError("Python 3.99+ not yet supported for torch.compile\nand more")

    monkeypatch.setattr(loop.torch, "compile", refuses)
    helpers.study(root, compile=True)
    assert helpers.train(root) == 2
    (line,) = capfd.readouterr().err.splitlines()
    assert "torch.compile: Python 3.99+ not yet supported" in line and "compile=false" in line


@pytest.mark.parametrize("module", ["torch._inductor.exc", "torch._dynamo.exc"])
def test_a_machine_without_a_compiler(module):
    kind = type("InductorError", (RuntimeError,), {"__module__": module})
    said = failures.known_cause(kind("InvalidCxxCompiler: none found\nlong story"), "epoch 1")
    assert said == (
        "epoch 1: torch.compile cannot compile here (InvalidCxxCompiler: none found): "
        "set compile=false"
    )


def test_a_disk_that_fills_up_under_an_array():
    error = OSError("2304000 requested and 1044352 written")
    assert "dataset: the disk is full: free space" in failures.known_cause(error, "dataset")


def test_tf32_is_refused_where_it_would_be_fp32(monkeypatch):
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda _: (7, 0))
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda _: "Tesla V100")
    with pytest.raises(UsageError, match="tf32 needs an Ampere or newer GPU; this is Tesla V100"):
        model.set_up_precision("tf32", torch.device("cuda", 0))


def test_two_ranks_on_one_gpu_are_no_lost_rank():
    ranks = type("Two", (), {"world_size": 2, "rank": 1, "timeout_s": 9.0})
    error = RuntimeError(
        "NCCL error: ncclInvalidUsage\nDuplicate GPU detected : rank 1 and rank 0 both on CUDA "
        "device 1b000"
    )
    said = str(failures.as_peer_lost(error, ranks, "start"))
    assert "two ranks of a node were given the same GPU" in said and "died" not in said


@pytest.mark.parametrize(
    ("text", "line"),
    {
        "[gloo/transport/tcp/pair.cc:534] Connection closed by peer [10.0.0.2]:33412":
            "lost contact with another rank, which died or was killed ([gloo/transport",
        "Timed out waiting 6000ms for recv operation to complete": "did not answer for 9 s",
        "NCCL error: ncclRemoteError: A call failed": "lost contact",
        "NCCL error: ncclSystemError\nBootstrap : no socket interface found": None,
        "CUDA error: peer access is not supported between these two devices": None,
        "ProcessGroupGloo: unsupported gloo device": None,
    }.items(),
)  # fmt: skip
def test_only_a_rank_that_is_gone_is_called_lost(text, line):
    ranks = type("Two", (), {"world_size": 2, "rank": 1, "timeout_s": 9.0})
    found = failures.as_peer_lost(RuntimeError(text), ranks, "epoch 1")
    assert line in str(found) if line else found is None
