"""Names of kernels, operators and annotations, sorted into families and phases.

A kernel's name says what it computes, not what for: most of a convolution's
time is spent in kernels called gemm, dgrad, or after a hand-tuned tile.
`kernel` therefore answers a different question from `operator`.
"""

from __future__ import annotations

import re

FAMILIES = (
    "convolution", "gemm", "batch_norm", "elementwise", "reduction", "pooling", "optimizer",
    "communication", "memory", "layout", "other",
)  # fmt: skip

# The first pattern found decides. They are searched in lower case, four times as fast as in
# either. Names of NVIDIA (cuDNN 7-9, cuBLAS, CUTLASS), AMD (MIOpen,
# rocBLAS' Cijk_, RCCL), PyTorch's own and Triton's (pointwise, reduction, persistent) kernels.
# The first group looks at templates too, because CUTLASS and PyTorch say there what is computed.
_WHOLE_NAME = (
    (r"nccl|rccl|msccl|nvshmem", "communication"),
    (r"^mem(cpy|set)\b|^copy(device|host)to|^(__amd_rocclr_)?(fill|copy)buffer", "memory"),
    (
        r"multi_tensor_apply|fused_?(adam|sgd|adagrad|lamb)|distributed_fused|amp_non_finite",
        "optimizer",
    ),
    (r"batch_?norm|\bbn_(fw|bw|fwd|bwd)|bn(fwd|bwd)|_bn_", "batch_norm"),
    (
        r"(max|avg|average|lp)_?pool|pooling_?(fw|bw|forward|backward|g)|average_gradinput",
        "pooling",
    ),
    (
        r"nchw_?to_?nhwc|nhwcaddpadding|nhwc_?to_?nchw|transpose|permute_|catarray|direct_copy"
        r"|copy_device_to_device",
        "layout",
    ),
    (
        r"conv(?!ert|ersion)|scudnn|dgrad|wgrad|fprop|winograd|im2col|col2im|computeb?offsets"
        r"|igemm_(fwd|bwd|wrw)|fft2d|scalepackedtensor",
        "convolution",
    ),
    (r"(?<!fb)gemm|gemv|cijk_|cublas|cutlass|matmul|splitk|nvjet|flash_|fmha|sdpa", "gemm"),
)
# Of PyTorch's templates the function's own name decides: their arguments name everything.
_FUNCTION = (
    (
        r"triton_poi|elementwise|vectorized|unrolled|dropout|index|scatter|gather|fill|distribution"
        r"|op\d?d?_?(generic_)?tensor|tensorop|tensortransform|scal_kernel",
        "elementwise",
    ),
    (r"triton_(red|per)|softmax|reduce(?!d)|nll_loss|argm(ax|in)|cumsum|scan|sort", "reduction"),
)
_WHOLE_PATTERNS, _FUNCTION_PATTERNS = (
    [(re.compile(pattern), family) for pattern, family in group]
    for group in (_WHOLE_NAME, _FUNCTION)
)

_GEMM = "addmm mm bmm baddbmm addbmm linear matmul addmv mv dot einsum"
_REDUCTION = (
    "mean sum prod max min amax amin argmax argmin any all norm linalg_vector_norm std var "
    "softmax log_softmax cross_entropy cross_entropy_loss nll_loss nll_loss_nd nll_loss2d "
    "mse_loss topk sort cumsum logsumexp count_nonzero"
)
_ELEMENTWISE = (
    "add sub rsub mul div relu threshold clamp clamp_min clamp_max hardtanh sigmoid tanh gelu "
    "silu hardswish exp log log2 sqrt rsqrt pow neg abs sign reciprocal eq ne lt gt le ge where "
    "dropout native_dropout bernoulli addcmul addcdiv lerp masked_fill floor floor_divide round "
    "remainder bitwise_and bitwise_or bitwise_not logical_and logical_or logical_not isfinite "
    "isnan isinf index index_select index_put gather scatter scatter_add take embedding normal "
    "uniform random arange one_hot"
)
_MEMORY = (
    "copy to to_copy zero zeros zeros_like fill full full_like ones ones_like empty empty_like "
    "empty_strided new_empty new_zeros new_full resize pin_memory set item local_scalar_dense"
)
_LAYOUT = (
    "contiguous clone cat stack reshape view transpose permute t expand as_strided flatten "
    "unflatten pad constant_pad_nd slice select unbind split chunk narrow squeeze unsqueeze flip "
    "roll detach alias unsafe_view reshape_alias repeat movedim"
)
_OPERATORS = {
    name: family
    for names, family in (
        (_GEMM, "gemm"), (_REDUCTION, "reduction"), (_ELEMENTWISE, "elementwise"),
        (_MEMORY, "memory"), (_LAYOUT, "layout"),
    )
    for name in names.split()
}  # fmt: skip

# Collectives, and DDP copying gradients into their buckets.
_COMMUNICATION = (
    "nccl:", "gloo:", "mpi:", "ucc:", "c10d::", "record_param_comms",
    "torch::distributed::reducer::",
)  # fmt: skip
# Inductor names a kernel after the operators fused in it; the heaviest of them counts.
_FUSED = re.compile(r"^triton_(poi|red|per|tem|for|mm)_fused_(\w+)")
_FUSED_OPERATORS = tuple(
    (re.compile(pattern), family)
    for pattern, family in (
        (r"convolution", "convolution"), (r"(?:^|_)(?:add|badd)?b?mm(?:_|$)", "gemm"),
        (r"batch_norm", "batch_norm"), (r"pool", "pooling"),
        (r"softmax|nll_loss|var_mean|(?:^|_)(?:sum|mean|amax|argmax)(?:_|$)", "reduction"),
    )
)  # fmt: skip
_FUSED_KINDS = {"poi": "elementwise", "red": "reduction", "per": "reduction", "for": "optimizer",
                "tem": "gemm", "mm": "gemm"}  # fmt: skip

_ENGINE = "autograd::engine::evaluate_function: "
_BACKWARD = re.compile(r"(_?backward(_input|_weight|_bias)?\d*|backward\d+)$")
_CAMEL = re.compile(r"(?<=[a-z0-9])(?=[A-Z])")


def kernel(name: str) -> str:
    """Family of a GPU activity by its own name."""
    name = name[:2000].lower().replace("(anonymous namespace)::", "")
    # Argument lists hold types only.
    whole = name.partition("(")[0] or name
    for pattern, family in _WHOLE_PATTERNS:
        if pattern.search(whole):
            return family
    function = whole.partition("<")[0]
    for pattern, family in _FUNCTION_PATTERNS:
        if pattern.search(function):
            return family
    return "other"


def fused(name: str) -> str | None:
    """Family of a Triton kernel by the operators that Inductor fused in it; None for others."""
    match = _FUSED.match(name[:500])
    if match is None:
        return None
    for pattern, family in _FUSED_OPERATORS:
        if pattern.search(match[2]):
            return family
    return _FUSED_KINDS[match[1]]


def operator(name: str) -> str | None:
    """Family of an operator or annotation; None where the name alone does not say.

    Forward (``aten::conv2d``), backward (``ConvolutionBackward0``,
    ``aten::convolution_backward``) and the autograd engine's frame around it are
    the same operator.
    """
    name = name[:500].removeprefix(_ENGINE)
    lower = name.lower()
    if lower.startswith("optimizer.") or "_fused_adam" in lower or "_fused_sgd" in lower:
        return "optimizer"
    if lower.startswith(_COMMUNICATION):
        return "communication"
    if lower.startswith("triton_"):
        return fused(name)
    base = name.rpartition("::")[2]
    plain = _BACKWARD.sub("", _CAMEL.sub("_", base).lower()).strip("_")
    if re.search(r"conv(?!ert|ersion)", plain):
        return "convolution"
    if "batch_norm" in plain or "batchnorm" in plain:
        return "batch_norm"
    if re.search(r"(max|avg|average|lp|fractional)_?pool", plain):
        return "pooling"
    if plain.startswith("foreach_"):
        return "elementwise"
    return _OPERATORS.get(plain)


# --------------------------------------------------------------------------- phases

#: Phases of a training step.
PHASES = ("data", "forward", "backward", "optimizer", "communication", "other")

_MARKS = (
    (re.compile(r"^optimizer\.|^optimi[sz]er(_?step)?$|zero_grad", re.I), "optimizer"),
    (re.compile(rf"^{_ENGINE}|^(loss_?)?backward$|backward(_?pass)?$|Backward\d*$"), "backward"),
    (
        re.compile(
            r"^enumerate\(DataLoader\)|^(data|dataload(er|ing)|input)(_?(load|wait|copy))?$"
        ),
        "data",
    ),
    (re.compile(r"^(forward(_?pass)?|loss|criterion)$|\.forward$", re.I), "forward"),
)


def opened_phase(name: str) -> int:
    """Number in `PHASES` of the phase that an event of this name opens; -1 for none."""
    name = name[:300]
    for pattern, phase in _MARKS:
        if pattern.search(name):
            return PHASES.index(phase)
    return -1
