"""Names of what transformers run, as PyTorch and the libraries around it write them, by family."""

from __future__ import annotations

import pytest

from scalebook.traces import families

OPERATORS = {
    "attention": """
        aten::scaled_dot_product_attention aten::_scaled_dot_product_flash_attention
        aten::_scaled_dot_product_efficient_attention aten::_scaled_dot_product_cudnn_attention
        aten::_scaled_dot_product_flash_attention_for_cpu aten::_scaled_dot_product_attention_math
        aten::_scaled_dot_product_fused_attention_overrideable aten::_flash_attention_forward
        aten::_efficient_attention_backward ScaledDotProductEfficientAttentionBackward0
        ScaledDotProductCudnnAttentionBackward0 FlashAttnFunc FlashAttnVarlenFuncBackward
        flash_attn::_flash_attn_varlen_forward xformers::efficient_attention_forward_cutlass
        vllm::unified_attention_with_output aiter::fmha_v3_fwd aten::native_multi_head_attention
        DotProductAttention FusedAttnFunc triton_tem_fused_flex_attention_backward_3""",
    "normalisation": """
        aten::rms_norm aten::_fused_rms_norm FusedRmsNormBackward0 aten::_fused_rms_norm_backward
        aten::layer_norm NativeLayerNormBackward0 _C::fused_add_rms_norm aten::native_group_norm
        FusedLayerNormAffineFunction FastLayerNormFN LigerRMSNormFunctionBackward
        triton_per_fused_native_layer_norm_0 triton_red_fused__to_copy_add_mean_mul_pow_rsqrt_0""",
    "gemm": """
        aten::linear aten::_grouped_mm aten::_scaled_grouped_mm te::general_gemm _LinearBackward
        _LayerNormMLP _GroupedLinear LigerFusedLinearCrossEntropyFunction quantized::linear
        bitsandbytes::gemv_4bit triton_tem_fused_mm_7""",
    "elementwise": """
        _C::rotary_embedding LigerRopeFunctionBackward FusedRoPEFunc ApplyRotaryEmb aten::polar
        aten::gelu GeluBackward0 aten::silu_backward _C::silu_and_mul LigerSiLUMulFunction
        LigerGELUMulFunction SwiGLUFunction aten::glu aten::embedding EmbeddingBackward0
        aten::embedding_dense_backward aten::_embedding_bag NativeDropoutBackward0
        triton_poi_fused_silu_mul_1 triton_poi_fused_gelu_backward_9""",
    "reduction": """
        aten::_softmax aten::_safe_softmax SoftmaxBackward0 aten::_softmax_backward_data
        aten::cross_entropy_loss LigerCrossEntropyFunction _moe_C::topk_softmax
        triton_per_fused__softmax_2 triton_red_fused__log_softmax_nll_loss_forward_0""",
    "optimizer": "aten::_fused_adamw_ Optimizer.step#AdamW.step",
    "layout": "aten::split_with_sizes aten::chunk aten::_unsafe_view aten::view_as_complex",
}
KERNELS = {
    "attention": """
        pytorch_flash::flash_fwd_kernel<pytorch_flash::Flash_fwd_kernel_traits<128,64>>(P)
        pytorch_flash::flash_bwd_dq_dk_dv_loop_seqk_parallel_kernel<T>(P)
        flash::flash_fwd_splitkv_combine_kernel<T>(P) fmha_cutlassB_f16_aligned_64x64_k64_sm80(P)
        cudnn_generated_fort_native_sdpa_sm90_flash_fprop_wgmma_f16_knob_7_64x128x128_kernel0_0
        cudnn::fusion::compute_dot_do_o<true,T>
        cutlass::device_kernel<flash::enable_sm90_or_later<flash::FlashAttnBwdSm90<T>>>(P)
        attn_fwd.kd bwd_kernel_dk_dv bwd_kernel_dq _attn_bwd kernel_unified_attention_2d
        vllm::paged_attention_v1_kernel<T>(P)""",
    "normalisation": """
        at::native::vectorized_layer_norm_kernel<c10::BFloat16>(int) _rms_norm_forward_kernel
        at::native::layer_norm_grad_input_kernel_vectorized<float>(P) cuApplyRMSNorm<T>(P)
        at::native::GammaBetaBackwardCUDAKernelTemplate<float>(P)
        at::native::cuComputeGradInput<float,true>(P)
        transformer_engine::normalization::rmsnorm_fwd_general_kernel<T>(P)""",
    "gemm": """
        sm90_xmma_gemm_bf16bf16_bf16f32_f32_tn_n_tilesize128x128x64_kernel__5x_cublas
        nvjet_tst_192x192_64x4_1x2_h_bz_coopB_TNT cublasLt::splitKreduce_kernel<T>(P)
        fused_moe_kernel deep_gemm::fp8_gemm_kernel<T>(P)""",
    "elementwise": """
        at::native::vectorized_elementwise_kernel<4,at::native::GeluCUDAKernelImpl(P)>(P)
        vllm::act_and_mul_kernel<c10::BFloat16>(P) _swiglu_forward_kernel _geglu_tanh_forward_kernel
        _triton_rope fused_rope_forward<T>(P) rotary_kernel
        at::native::indexSelectLargeIndex<T>(P) at::native::embedding_backward_feature_kernel<T>(P)
        at::native::fused_dropout_kernel_vec<float>(P)""",
    "reduction": """
        softmax_warp_forward<float,10>(P) at::native::cunn_SoftMaxBackward<4>(P)
        scaled_upper_triang_masked_softmax_warp_forward<T>(P) liger_cross_entropy_kernel
        at::native::nll_loss_forward_reduce_cuda_kernel_2d<T>(P)""",
}


def rows(table: dict[str, str]) -> list[tuple[str, str]]:
    return [(name, family) for family, names in table.items() for name in names.split()]


@pytest.mark.parametrize(("name", "family"), rows(OPERATORS))
def test_operators_of_transformers(name, family):
    assert families.operator(name) == family


@pytest.mark.parametrize(("name", "family"), rows(KERNELS))
def test_kernels_of_transformers(name, family):
    assert families.kernel(name) == family
