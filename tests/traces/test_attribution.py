"""Where the time goes: intervals, families, and who launched what."""

from __future__ import annotations

import gzip
import json
import time

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from trace_events import kernel, launch, module, operator, write

from scalebook import traces
from scalebook.contract import UsageError
from scalebook.traces import families, intervals

# ------------------------------------------------------------------------- intervals

SPANS = st.lists(st.tuples(st.integers(0, 60), st.integers(0, 15)), max_size=25)


def arrays(spans):
    start = np.array([span[0] for span in spans], dtype=float)
    return start, start + np.array([span[1] for span in spans], dtype=float)


def cells(spans) -> set[int]:
    return {cell for start, dur in spans for cell in range(start, start + dur)}


@given(SPANS, SPANS, st.integers(0, 40), st.integers(0, 40))
def test_intervals_agree_with_counting_cells(one, other, low, width):
    a, b = intervals.union(*arrays(one)), intervals.union(*arrays(other))
    assert intervals.clipped(a, -np.inf, np.inf) == len(cells(one))
    assert np.sum(intervals.clipped(a, *b)) == len(cells(one) & cells(other))
    both = intervals.joined(a, b)
    assert intervals.clipped(both, -np.inf, np.inf) == len(cells(one) | cells(other))
    assert intervals.clipped(a, low, low + width) == len(cells(one) & set(range(low, low + width)))
    assert (a[0][1:] > a[1][:-1]).all()


# ------------------------------------------------------------------------- families


@pytest.mark.parametrize(
    ("name", "family"),
    [
        ("volta_sgemm_32x128_nn", "gemm"),
        ("ampere_fp16_s16816gemm_fp16_64x64_ldg8_f2f_stages_64x5_nn", "gemm"),
        ("Cijk_Ailk_Bljk_SB_MT64x64x16_SE_K1", "gemm"),
        ("nvjet_hsh_128x256_64x4_1x2_h_bz_coopA_NNT", "gemm"),
        ("void cutlass::Kernel<cutlass_80_tensorop_s1688gemm_64x64_32x6_nt_align1>(T)", "gemm"),
        ("void cutlass__5x_cudnn::Kernel<cutlass_tensorop_s1688fprop_optimized_tf32>(P)",
         "convolution"),
        ("cudnn_infer_volta_scudnn_winograd_128x128_ldg1_ldg4_relu_tile148t_nt_v1", "convolution"),
        ("sm80_xmma_wgrad_implicit_gemm_indexed_f16f16_f16f32_f32_nhwckrsc", "convolution"),
        ("void wgrad_alg0_engine<float, 128, 6, 7, 3, 3, 5, false, 512>(int, int)", "convolution"),
        ("miopenSp3AsmConv_v21_1_2_gfx9_fp32_stride1", "convolution"),
        ("igemm_fwd_gtcx_nhwc_fp16_bx0_ex1", "convolution"),
        ("void cudnn::bn_bw_1C11_kernel_new<float, float, float2, 512, true, 1>(float)",
         "batch_norm"),
        ("MIOpenBatchNormFwdTrainSpatial.kd", "batch_norm"),
        ("void at::native::batch_norm_collect_statistics_kernel<at::native::InvStd>(T)",
         "batch_norm"),
        ("void at::native::(anonymous namespace)::max_pool_forward_nchw<float>(int)", "pooling"),
        ("void at::native::vectorized_elementwise_kernel<4, at::native::CUDAFunctor_add<float>>(i)",
         "elementwise"),
        ("void at::native::_scatter_gather_elementwise_kernel<128, 4, reduce_add>(int)",
         "elementwise"),
        ("triton_poi_fused_relu_0", "elementwise"),
        ("triton_per_fused_sum_1", "reduction"),
        ("void at::native::reduce_kernel<512, 1, at::native::ReduceOp<float>>(R)", "reduction"),
        ("void (anonymous namespace)::softmax_warp_forward<float, 10>(float*)", "reduction"),
        ("void at::native::(anonymous namespace)::multi_tensor_apply_kernel<TensorList>(T)",
         "optimizer"),
        ("ncclDevKernel_AllReduce_Sum_f32_RING_LL(ncclDevKernelArgsStorage<4096ul>)",
         "communication"),
        ("void cudnn::ops::nchwToNhwcKernel<float, float>(T)", "layout"),
        ("void at::native::unrolled_elementwise_kernel<at::native::direct_copy_kernel_cuda>(T)",
         "layout"),
        ("void cudnn::engines_precompiled::nchwToNhwcKernel<float, float>(P)", "layout"),
        ("cudnn::ops::nhwcAddPaddingKernel<float>", "layout"),
        ("sm90_xmma_fprop_implicit_gemm_bf16bf16_bf16f32_f32_nhwckrsc_nhwc", "convolution"),
        ("_5x_cudnn_ampere_scudnn_128x64_relu_xregs_large_nn_v1", "convolution"),
        ("void cudnn::batchnorm_bwtr_nhwc_semiPersist<float>(P)", "batch_norm"),
        ("void ck::kernel_grouped_conv_fwd_multiple_abd_xdl_cshuffle<T>(P)", "convolution"),
        ("miopenGcnAsmConv1x1WrW", "convolution"),
        ("mloPoolingG", "pooling"), ("mloPoolingForwardNaive", "pooling"),
        ("void at::native::(anonymous namespace)::adaptive_average_gradinput<float>(P)", "pooling"),
        ("Op2dTensorGeneric", "elementwise"), ("SubTensorOpWithScalar1d", "elementwise"),
        ("void op_generic_tensor_kernel<2, float>(P)", "elementwise"),
        ("void tensorTransformGeneric<float>(P)", "elementwise"),
        ("void cub::DeviceScanKernel<P>(P)", "reduction"),
        ("ampere_bf16_s16816gemm_bf16_128x64_ldg8_relu_f2f_tn", "gemm"),
        ("void flash::flash_fwd_kernel<T>(P)", "attention"),
        ("void fft2d_r2c_32x32<float, false>(P)", "convolution"),
        ("__amd_rocclr_fillBufferAligned", "memory"), ("__amd_rocclr_copyBuffer", "memory"),
        ("rcclGenericKernel", "communication"),
        ("void at::native::amp_non_finite_check_and_unscale_cuda_(P)", "optimizer"),
        ("Memcpy HtoD (Pageable -> Device)", "memory"),
        # Whole words of the function's name: no tile, no template argument.
        ("Cijk_Alik_Bljk_BBS_BH_MT128x128x32_MI16x16x16_BM_128_BN_64_bk32", "gemm"),
        ("gemm_kernel_BLOCK_BN_64_BM_128", "gemm"),
        ("void at::native::vectorized_elementwise_kernel<4, at::native::conv_gemm_pool<float>>(i)",
         "elementwise"),
        ("void at::native::reduce_kernel<512, 1, at::native::ReduceOp<NormTwoOps, flash>>(R)",
         "reduction"),
        ("std::enable_if<!(false), void>::type internal::gemvx::kernel<int, float>(P)", "gemm"),
        ("void cutlass::device_kernel<flash::FlashAttnFwdSm90<flash::Tile>>(P)", "attention"),
        ("void cutlass::device_kernel<at::cuda::enable_3x<cutlass::gemm::kernel::Universal>>(P)",
         "gemm"),
        ("void cutlass::Kernel2<cutlass_80_tensorop_f16_s16816fprop_optimized_f16>(P)",
         "convolution"),
        ("void ck_tile::kentry<256, 1, ck_tile::FmhaFwdKernel<T>>(P)", "other"),
        ("fmha_cutlassF_bf16_aligned_64x64_rf_sm80(PyTorchMemEffAttention::P)", "attention"),
        ("void at::native::(anonymous namespace)::vectorized_layer_norm_kernel<float>(int)",
         "normalisation"),
        ("void vllm::fused_add_rms_norm_kernel<c10::BFloat16, 8>(P)", "normalisation"),
        ("void vllm::rotary_embedding_kernel<c10::BFloat16, true>(P)", "elementwise"),
        ("void vllm::cross_device_reduce_2stage<__nv_bfloat16, 8>(P)", "communication"),
        ("void c10d::symmetric_memory::two_shot_all_reduce_kernel_inplace<float>(P)",
         "communication"),
        ("void tensorrt_llm::allreduce_fusion_kernel_oneshot_lamport<T>(P)", "communication"),
        ("void deep_ep::internode::dispatch<true, 8>(P)", "communication"),
        ("fbgemm_gpu::_compute_FP8_quantize_cuda_kernel<float>(int)", "other"),
        ("", "other"),
    ],
)  # fmt: skip
def test_kernels_by_name(name, family):
    assert families.kernel(name) == family


@pytest.mark.parametrize(
    ("name", "family"),
    [
        ("aten::conv2d", "convolution"),
        ("autograd::engine::evaluate_function: ConvolutionBackward0", "convolution"),
        ("aten::convolution_backward", "convolution"),
        ("CudnnBatchNormBackward0", "batch_norm"),
        ("aten::native_batch_norm_backward", "batch_norm"),
        ("MaxPool2DWithIndicesBackward0", "pooling"),
        ("AddmmBackward0", "gemm"),
        ("TBackward0", "layout"),
        ("aten::add_", "elementwise"),
        ("aten::threshold_backward", "elementwise"),
        ("LogSoftmaxBackward0", "reduction"),
        ("aten::_to_copy", "memory"),
        ("Optimizer.step#SGD.step", "optimizer"),
        ("c10d::allreduce_", "communication"),
        ("gloo:all_reduce", "communication"),
        ("symm_mem::multimem_all_reduce_", "communication"),
        ("_c10d_functional::all_gather_into_tensor", "communication"),
        ("hccl:all_reduce", "communication"),
        ("xccl:all_gather", "communication"),
        ("vllm::all_reduce", "communication"),
        ("symm_mem::fused_all_gather_matmul", None),
        ("aten::scaled_dot_product_attention", "attention"),
        ("ScaledDotProductFlashAttentionBackward0", "attention"),
        ("flash_attn::_flash_attn_forward", "attention"),
        ("aten::native_layer_norm", "normalisation"),
        ("LigerRMSNormFunction", "normalisation"),
        ("_LayerNormLinear", "gemm"),
        ("aten::_scaled_mm", "gemm"),
        ("torch::autograd::CopyBackwards", "memory"),
        ("graph_0_cpp_fused_addmm_relu_1", "elementwise"),
        ("aten::embedding", "elementwise"),
        ("fb::convex_sum", None),
        ("torch::autograd::AccumulateGrad", None),
        ("DistributedDataParallel.forward", None),
        ("ProfilerStep#3", None),
        ("All2All_Pooled_WaitBackward", None),
        ("convert_element_type", None),
    ],
)
def test_operators_by_name(name, family):
    assert families.operator(name) == family


FAMILIES = (
    "convolution", "gemm", "attention", "batch_norm", "normalisation", "elementwise", "reduction",
    "pooling", "optimizer", "communication", "memory", "layout", "other",
)  # fmt: skip


@given(st.text(max_size=300))
def test_any_name_has_a_family(name):
    assert families.kernel(name) in FAMILIES
    assert families.operator(name) in (*FAMILIES, None)


# ------------------------------------------------------------------------- attribution


def summary_of(tmp_path, events):
    return traces.summary(write(tmp_path / "t.json", events))


def test_a_kernel_belongs_to_the_outermost_operator_that_says_what_it_is(tmp_path):
    engine = "autograd::engine::evaluate_function: "
    events = [
        operator("ProfilerStep#4", 0, 1000, cat="user_annotation"),
        operator("DistributedDataParallel.forward", 0, 400, cat="user_annotation"),
        operator("aten::conv2d", 10, 80), operator("aten::copy_", 20, 20), launch(30, 1),
        operator(engine + "torch::autograd::AccumulateGrad", 100, 90, tid=2),
        operator("aten::add_", 110, 20, tid=2), launch(115, 2, tid=2),
        operator("c10d::allreduce_", 150, 20, tid=2), launch(160, 3, tid=2),
        operator("Optimizer.step#SGD.step", 500, 90, cat="user_annotation"),
        operator("aten::_foreach_add_", 510, 20), launch(515, 4),
        launch(700, 5),
        kernel("Memcpy", 130, 7, 1), kernel("vectorized_elementwise_kernel", 200, 11, 2),
        kernel("ncclKernel", 300, 13, 3), kernel("multi_tensor_apply_kernel", 600, 17, 4),
        kernel("volta_sgemm", 710, 19, 5), kernel("volta_sgemm", 740, 23, 99),
    ]  # fmt: skip
    summary = summary_of(tmp_path, events)
    # Without an operator the kernel's name says it.
    assert summary["by_name_us"] == 42.0
    assert summary["by_operator"] == {
        "gemm": 42.0,
        "optimizer": 17.0,
        "communication": 13.0,
        "elementwise": 11.0,
        "convolution": 7.0,
    }
    assert summary["by_kernel"]["gemm"] == 42.0
    step = {"step": 4, "start_us": 0, "dur_us": 1000, "busy_us": 90, "compute_us": 70}
    assert [{key: one[key] for key in step} for one in summary["steps"]] == [step]
    names = {row["name"]: row["family"] for row in summary["top_operators"]}
    assert names["aten::conv2d"] == "convolution"


def test_threads_do_not_mix_and_siblings_do_not_nest(tmp_path):
    events = [
        operator("aten::conv2d", 0, 100, tid=1), operator("aten::mm", 0, 50, tid=2),
        operator("aten::relu", 50, 50, tid=2), launch(10, 1, tid=2), launch(50, 2, tid=2),
        kernel("k", 200, 5, 1), kernel("k", 300, 3, 2),
    ]  # fmt: skip
    assert summary_of(tmp_path, events)["by_operator"] == {"gemm": 5.0, "elementwise": 3.0}


def test_external_ids_serve_where_no_correlation_leads_to_a_launch(tmp_path):
    op = {**operator("aten::mm", 0, 10), "args": {"External id": 12}}
    k = kernel("k", 20, 5, 77)
    k["args"]["External id"] = 12
    assert summary_of(tmp_path, [op, k])["by_operator"] == {"gemm": 5.0}


def test_several_gpus_are_added_up(tmp_path):
    events = [
        kernel("k", 0, 10, device=0),
        kernel("k", 5, 10, device=1),
        kernel("k", 20, 5, device=1),
    ]
    time_us = summary_of(tmp_path, events)["time"]
    assert (time_us["span_us"], time_us["busy_us"], time_us["idle_us"]) == (30, 25, 5)


def test_cpu_operators_count_their_own_time(tmp_path):
    events = [
        operator("aten::linear", 0, 100),
        operator("aten::addmm", 10, 60),
        operator("aten::relu", 150, 30),
        operator("gloo:all_reduce", 160, 40, tid=2, cat="user_annotation"),
    ]
    summary = summary_of(tmp_path, events)
    assert summary["by_operator"] == {"gemm": 100.0, "communication": 40.0, "elementwise": 30.0}
    assert summary["by_kernel"] == {} and summary["total_us"] == 170.0
    assert summary["time"] == {
        "span_us": 200, "busy_us": 150, "compute_us": 130, "communication_us": 40, "memory_us": 0,
        "overlap_us": 20, "idle_us": 50,
    }  # fmt: skip
    assert summary["top_operators"][0]["name"] == "aten::addmm"


@pytest.mark.slow
def test_a_trace_of_our_own_profiler(tmp_path):
    import torch
    from torch.profiler import ProfilerActivity, profile, schedule

    net = torch.nn.Sequential(torch.nn.Conv2d(3, 8, 3), torch.nn.BatchNorm2d(8), torch.nn.ReLU())
    images = torch.randn(8, 3, 16, 16)
    net(images).sum().backward()
    path = tmp_path / "cpu_rank0.pt.trace.json"
    own = []

    def save(profiler):
        profiler.export_chrome_trace(str(path))
        # The profiler's own account of self time, operator by operator, in µs.
        averages = profiler.key_averages()
        own.extend(e.self_cpu_time_total for e in averages if "ProfilerStep" not in e.key)

    with profile(
        activities=[ProfilerActivity.CPU],
        schedule=schedule(wait=0, warmup=1, active=2, repeat=1),
        on_trace_ready=save,
        acc_events=True,
    ) as profiler:
        for _ in range(3):
            net(images).sum().backward()
            profiler.step()
    summary = traces.summary(path)
    assert summary["device"] == "cpu" and len(summary["steps"]) == 2
    assert {"convolution", "batch_norm", "elementwise"} <= set(summary["by_operator"])
    assert summary["total_us"] == pytest.approx(sum(own), rel=0.02)


def test_backward_kernels_have_the_module_and_the_phase_of_what_they_undo(tmp_path):
    engine = "autograd::engine::evaluate_function: ConvolutionBackward0"
    sequence = {"Sequence number": 7, "Fwd thread id": 0}
    undo = {"Sequence number": 7, "Fwd thread id": 1}
    events = [
        module("nn.Module: ResNet_0", 0, 100), module("nn.Module: Conv2d_3", 10, 50),
        module("resnet.py(12): forward", 5, 80),
        operator("aten::conv2d", 20, 30, args=sequence), launch(30, 1),
        operator("aten::cross_entropy_loss", 120, 10, args={"Sequence number": 9}), launch(125, 4),
        operator(engine, 200, 50, tid=2, args=undo),
        operator("aten::convolution_backward", 210, 30, tid=2), launch(220, 2, tid=2),
        operator("optimizer", 300, 50, cat="user_annotation"),
        operator("aten::mul_", 310, 10), launch(312, 3),
        operator("enumerate(DataLoader)#_SingleProcess.__next__", 400, 9, cat="user_annotation"),
        operator("aten::to", 420, 20), launch(425, 5),
        *(kernel("k", 500 + 10 * number, number, number) for number in (1, 2, 3, 4)),
        {**kernel("Memcpy HtoD (Pinned -> Device)", 600, 5, 5), "cat": "gpu_memcpy"},
    ]  # fmt: skip
    trace = traces.read(write(tmp_path / "t.json", events))
    table = traces.get_attribution(trace).set_index("time_us")
    assert table["module"].to_dict() == {
        1: "ResNet_0/Conv2d_3", 2: "ResNet_0/Conv2d_3", 3: "", 4: "", 5: "",
    }  # fmt: skip
    assert table["phase"].to_dict() == {
        1: "forward", 2: "backward", 3: "optimizer", 4: "forward", 5: "data",
    }  # fmt: skip
    assert "resnet.py" not in trace.events["name"].cat.categories
    modules = traces.get_breakdown(trace, "module").set_index("group")
    assert modules.loc["ResNet_0/Conv2d_3", "total_us"] == 3
    with pytest.raises(UsageError, match="choose one of"):
        traces.get_breakdown(trace, "colour")


def test_a_hierarchy_that_the_trace_names_is_the_module(tmp_path):
    events = [
        operator("aten::relu", 0, 9, args={"Module Hierarchy": "TOP(Net).relu(ReLU)"}),
        launch(2, 1),
        kernel("k", 20, 5, 1),
    ]
    trace = traces.read(write(tmp_path / "t.json", events))
    assert traces.get_attribution(trace)["module"].tolist() == ["TOP(Net).relu(ReLU)"]


@pytest.mark.parametrize(
    ("name", "family"),
    [
        ("triton_poi_fused_add_relu_3", "elementwise"),
        ("triton_red_fused__native_batch_norm_legit_functional_relu_0", "batch_norm"),
        ("triton_per_fused__log_softmax_nll_loss_forward_5", "reduction"),
        ("triton_red_fused_add_native_layer_norm_1", "normalisation"),
        # What is listed is not what is done: no product is computed point by point.
        ("triton_poi_fused_convolution_backward_relu_1", "elementwise"),
        ("triton_poi_fused_addmm_relu_1", "elementwise"),
        ("triton_red_fused_mm_sum_1", "reduction"),
        ("triton_poi_fused_all_reduce_1", "elementwise"),
        ("triton_tem_fused_addmm_1", "gemm"),
        ("triton_tem_fused_convolution_1", "convolution"),
        ("triton_tem_fused_flex_attention_0", "attention"),
        ("triton_for_fused_0", "optimizer"),
        ("volta_sgemm", None),
    ],
)
def test_inductor_says_what_it_fused(name, family):
    assert families.fused(name) == family


def test_a_fused_kernel_without_an_operator_goes_by_its_name(tmp_path):
    events = [launch(1, 1), kernel("triton_red_fused_native_batch_norm_1", 5, 3, 1)]
    assert summary_of(tmp_path, events)["by_operator"] == {"batch_norm": 3.0}


def test_endless_nesting_ends(tmp_path):
    events = [operator("aten::add", at, 20_000 - 2 * at) for at in range(5000)]
    events += [launch(4999.5, 1), kernel("k", 30_000, 5, 1)]
    assert summary_of(tmp_path, events)["by_operator"] == {"elementwise": 5.0}


# ------------------------------------------------------------------------- real traces


def raw_gpu_events(path):
    document = json.loads(gzip.decompress(path.read_bytes()))
    kinds = ("kernel", "gpu_memcpy", "gpu_memset")
    return [event for event in document["traceEvents"] if event.get("cat") in kinds]


@pytest.mark.shared
def test_grouping_by_operator_finds_the_convolutions(shared):
    path = shared / "data/traces/resnet_v100_ddp_rank0.pt.trace.json.gz"
    start = time.process_time()
    summary = traces.summary(path)
    seconds = time.process_time() - start
    total = summary["total_us"]
    assert total == pytest.approx(sum(event["dur"] for event in raw_gpu_events(path)), abs=1)
    assert 100 * summary["by_kernel"]["batch_norm"] / total == pytest.approx(18.2, abs=0.1)
    assert 100 * summary["by_operator"]["convolution"] / total == pytest.approx(66.5, abs=0.2)
    assert 100 * summary["by_kernel"]["convolution"] / total < 45
    for groups in (summary["by_operator"], summary["by_kernel"]):
        assert sum(groups.values()) == pytest.approx(total, abs=1)
        assert groups.get("other", 0) / total < 0.05
    assert len(summary["steps"]) > 1 and summary["devices"] == ["Tesla V100-SXM2-32GB"]
    assert "sraikund" not in json.dumps(summary) and "facebook" not in json.dumps(summary)
    assert seconds < 30  # of the processor, which needs less than one


@pytest.mark.shared
@pytest.mark.parametrize("rank", [0, 1])
def test_a_trace_of_a_large_job(shared, rank):
    path = shared / f"data/traces/dlrm_128gpu_rank{rank}.json.gz"
    summary = traces.summary(path)
    assert summary["ranks"] == [{"rank": rank, "world_size": 128}]
    nccl = sum(e["dur"] for e in raw_gpu_events(path) if "nccl" in e["name"].lower())
    assert summary["by_kernel"]["communication"] == nccl
    # DDP's copies into its buckets are launched for communication, though no NCCL kernels.
    assert nccl <= summary["by_operator"]["communication"] < 1.01 * nccl
    assert summary["time"]["overlap_us"] > 0
    assert [step["step"] for step in summary["steps"]] == [551, 552]
