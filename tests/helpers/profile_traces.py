"""Made-up traces of a study for tests of the profile's page."""

from __future__ import annotations

from pathlib import Path

from trace_events import kernel, launch, operator, write

#: A step every so many µs; the device works on it later, into the next one.
STEP_US = 1000.0
MESSAGE = {"Collective name": "allreduce", "In msg nelems": 250_000, "Out msg nelems": 250_000,
           "dtype": "Float", "Group size": 2}  # fmt: skip


def gpu_events(steps: int = 5, convolution: str = "aten::conv2d") -> list[dict]:
    """A convolution that runs in a GEMM kernel, and a batch norm, in every step."""
    events = []
    shapes = {
        "Input Dims": [[8, 3, 32, 32], [64, 3, 3, 3], [], [1, 1], [1, 1], [1, 1], []],
        "Input type": ["float", "float", "", "", "", "", ""],
        "Concrete Inputs": ["", "", "", "[1, 1]", "[1, 1]", "[1, 1]", "1"],
    }
    for step in range(steps):
        at, number = STEP_US * step, 10 * step
        events += [
            operator(f"ProfilerStep#{step + 3}", at, 900, cat="user_annotation"),
            operator("forward", at + 50, 400, cat="user_annotation"),
            operator(convolution, at + 100, 100, args=shapes),
            operator("aten::cudnn_convolution", at + 120, 70, args=shapes),
            launch(at + 150, number),
            kernel("volta_sgemm_128x64_nn", at + 800, 300, number),
            operator("aten::batch_norm", at + 300, 100),
            launch(at + 350, number + 1),
            kernel("void cudnn::bn_fw_tr_1C11_kernel<float>", at + 1150, 100, number + 1),
        ]
    return events


def add_gpu(root: Path, run: str = "profile_9_1gpu_9", device: str = "Tesla T4", **more) -> str:
    """Write a trace of one GPU; its path below the root."""
    document = {
        "traceEvents": gpu_events(**more),
        "deviceProperties": [{"id": 0, "name": device}],
    }
    return add(root, f"{run}_rank0", document)


def add_job(root: Path, run: str = "ddp_2gpu_8_2gpu_8") -> list[str]:
    """Write traces of two ranks; the second comes late to every all-reduce."""
    files = []
    for rank, late in ((0, 0), (1, 300)):
        events = [operator("ProfilerStep#1", 0, 10_000, cat="user_annotation")]
        for number in range(4):
            at = 2000.0 * number
            reduced = kernel("ncclDevKernel_AllReduce_Sum_f32", at + 500 + late, 700 - late, number)
            reduced["args"].update(MESSAGE)
            events += [
                operator("aten::mm", at, 50),
                launch(at + 10, 100 + number),
                kernel("volta_sgemm", at + 100, 300 + late, 100 + number),
                launch(at + 60, number),
                reduced,
            ]
        document = {"traceEvents": events, "distributedInfo": {"rank": rank, "world_size": 2}}
        files.append(add(root, f"{run}_rank{rank}", document))
    return files


def add_cpu(root: Path, run: str = "profile_7_1cpu_7") -> str:
    """Write a trace of a CPU without steps."""
    events = [operator("aten::conv2d", 0, 100), operator("aten::batch_norm", 150, 50)]
    return add(root, f"{run}_rank0", events)


def add(root: Path, name: str, document: object) -> str:
    """Write a trace into the results; its path below the root."""
    path = root / "results/profiling" / f"{name}.pt.trace.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    return write(path, document).relative_to(root).as_posix()
