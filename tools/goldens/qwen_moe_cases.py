"""The models of qwen2_moe and qwen3_moe, as cases.py has the others."""

from case import F16, F32, Case, shape


def experts(ffn, count, chosen, normalised, *, step=1, dense=()) -> dict:
    return {"moe_intermediate_size": ffn, "num_experts": count, "num_experts_per_tok": chosen,
            "norm_topk_prob": normalised, "decoder_sparse_step": step, "mlp_only_layers": list(dense),
            "output_router_logits": False, "router_aux_loss_coef": 0.001}


QWEN2_MOE = [
    Case(
        "qwen2_moe", "plain", "3 of 10 experts beside a gated shared one; 6 heads on 2; a window that is switched off",
        shape(60, 6, 2, 100, 2, 283, max_position_embeddings=256, rope_theta=10000.0, rms_norm_eps=1e-6,
              tie_word_embeddings=False, use_sliding_window=False, sliding_window=16, max_window_layers=1,
              shared_expert_intermediate_size=34, **experts(14, 10, 3, False)),
        lengths=[17, 1, 160], seed=601, rows=32, trace=True,
    ),
    Case(
        "qwen2_moe", "sparse_step", "experts in layers 1 and 3; 5 heads on 1; yarn, old spelling; tied; F16; 2 files",
        shape(60, 5, 1, 68, 4, 131, max_position_embeddings=256, rope_theta=10000.0, rms_norm_eps=1e-6,
              rope_scaling={"type": "yarn", "factor": 4.0, "original_max_position_embeddings": 32},
              tie_word_embeddings=True, use_sliding_window=False, sliding_window=None, max_window_layers=4,
              shared_expert_intermediate_size=30, **experts(14, 6, 2, False, step=2)),
        lengths=[30, 150], seed=602, rows=40, storage=F16, shards=2,
    ),
    Case(
        "qwen2_moe", "mlp_only", "layers 0 and 2 dense by mlp_only_layers; weights normalised; new spelling; F32",
        shape(42, 7, 7, 36, 3, 101, max_position_embeddings=256, rms_norm_eps=0.02, tie_word_embeddings=False,
              rope_parameters={"rope_type": "default", "rope_theta": 50000.0},
              use_sliding_window=False, sliding_window=None, max_window_layers=3,
              shared_expert_intermediate_size=22, **experts(14, 8, 3, True, dense=[0, 2])),
        lengths=[30, 140], seed=603, rows=40, storage=F32,
    ),
    Case(
        "qwen2_moe", "fused", "the experts of a layer in two tensors, as transformers 5 holds them; 8 heads on 4",
        shape(64, 8, 4, 84, 2, 101, max_position_embeddings=128, rope_theta=10000.0, rms_norm_eps=1e-6,
              rope_scaling={"type": "linear", "factor": 2.0}, tie_word_embeddings=False, use_sliding_window=False,
              sliding_window=None, max_window_layers=2, shared_expert_intermediate_size=30, **experts(14, 8, 2, False)),
        lengths=[30, 140], seed=604, rows=40, fused_experts=True,
    ),
]

QWEN3_MOE = [
    Case(
        "qwen3_moe", "plain", "3 of 12 experts, weights normalised; 6 heads on 2, head_dim 16 where width / heads is 10",
        shape(60, 6, 2, 100, 2, 283, head_dim=16, max_position_embeddings=256, rope_theta=1000000.0, rms_norm_eps=1e-6,
              tie_word_embeddings=False, rope_scaling=None, attention_bias=False, use_sliding_window=False,
              sliding_window=None, max_window_layers=2, **experts(12, 12, 3, True)),
        lengths=[17, 1, 160], seed=801, rows=32, trace=True,
    ),
    Case(
        "qwen3_moe", "sparse_step", "experts in layers 1 and 3; weights not normalised; 5 heads on 1; yarn; tied; F32",
        shape(48, 5, 1, 40, 4, 101, head_dim=16, max_position_embeddings=128, rms_norm_eps=1e-6,
              rope_parameters={"rope_type": "yarn", "rope_theta": 1000000.0, "factor": 4.0,
                               "original_max_position_embeddings": 32},
              tie_word_embeddings=True, attention_bias=False, use_sliding_window=False, sliding_window=None,
              max_window_layers=4, **experts(12, 6, 2, False, step=2)),
        lengths=[30, 150], seed=702, rows=40, storage=F32, qk_scale=1.4,
    ),
    Case(
        "qwen3_moe", "mlp_only", "layer 1 dense by mlp_only_layers; 4 of 16 experts; 7 heads on 7; F16; 3 files",
        shape(56, 7, 7, 60, 3, 101, head_dim=12, max_position_embeddings=256, rms_norm_eps=0.02, rope_theta=50000.0,
              rope_scaling=None, tie_word_embeddings=False, attention_bias=False, use_sliding_window=False,
              sliding_window=None, max_window_layers=3, **experts(10, 16, 4, True, dense=[1])),
        lengths=[30, 140], seed=803, rows=40, storage=F16, shards=3,
    ),
    Case(
        "qwen3_moe", "fused", "the experts of a layer in two tensors, as transformers 5 holds them; linear scaling",
        shape(64, 4, 2, 84, 2, 101, head_dim=24, max_position_embeddings=128, rms_norm_eps=1e-6, rope_theta=10000.0,
              rope_scaling={"rope_type": "linear", "factor": 2.0}, tie_word_embeddings=False, attention_bias=False,
              use_sliding_window=False, sliding_window=None, max_window_layers=2, **experts(14, 8, 2, True)),
        lengths=[30, 140], seed=804, rows=40, fused_experts=True,
    ),
    Case(
        "qwen3_moe", "fp8", "linear weights in e4m3 with factors, as Qwen3's own FP8 files; 3 heads on 1; 2 files",
        shape(144, 3, 1, 136, 2, 67, head_dim=48, max_position_embeddings=256, rms_norm_eps=1e-6, rope_theta=1000000.0,
              rope_scaling=None, tie_word_embeddings=False, attention_bias=False, use_sliding_window=False,
              sliding_window=None, max_window_layers=2,
              quantization_config={"activation_scheme": "dynamic", "fmt": "e4m3", "quant_method": "fp8",
                                   "weight_block_size": [128, 128],
                                   "modules_to_not_convert": ["lm_head", "model.layers.0.input_layernorm",
                                                              "model.layers.0.post_attention_layernorm",
                                                              "model.layers.1.input_layernorm",
                                                              "model.layers.1.post_attention_layernorm",
                                                              "model.layers.1.mlp.gate"]},
              **experts(16, 8, 3, True, dense=[0])),
        lengths=[28, 140], seed=705, rows=40, shards=2,
    ),
]
