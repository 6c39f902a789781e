"""The models of DeepSeek's families, as cases.py has the others; config.json as published for V2 and V3."""

from case import F16, F32, Case, shape


def mla(width, heads, ffn, layers, vocab, *, query_rank, latent, nope, rope, value, **more) -> dict:
    return shape(width, heads, heads, ffn, layers, vocab, q_lora_rank=query_rank, kv_lora_rank=latent, qk_nope_head_dim=nope,
                 qk_rope_head_dim=rope, v_head_dim=value, attention_bias=False, **more)


def v2(ffn, experts, chosen, *, groups=None, kept=None, scale=1.0, dense=1, frequency=1, shared=2) -> dict:
    method = "greedy" if groups is None else "group_limited_greedy"
    return {"moe_intermediate_size": ffn, "n_routed_experts": experts, "num_experts_per_tok": chosen,
            "n_shared_experts": shared, "first_k_dense_replace": dense, "moe_layer_freq": frequency,
            "topk_method": method, "n_group": groups or 1, "topk_group": kept or 1, "norm_topk_prob": False,
            "scoring_func": "softmax", "routed_scaling_factor": scale, "aux_loss_alpha": 0.001, "seq_aux": True}


def v3(ffn, experts, chosen, *, groups=1, kept=1, normalised=True, dense=1, shared=1) -> dict:
    return {"moe_intermediate_size": ffn, "n_routed_experts": experts, "num_experts_per_tok": chosen,
            "n_shared_experts": shared, "first_k_dense_replace": dense, "moe_layer_freq": 1,
            "topk_method": "noaux_tc", "n_group": groups, "topk_group": kept, "norm_topk_prob": normalised,
            "scoring_func": "sigmoid", "routed_scaling_factor": 2.5, "aux_loss_alpha": 0.001, "seq_aux": True}


def yarn(factor, original, mscale, mscale_all_dim, **more) -> dict:
    return {"beta_fast": 32, "beta_slow": 1, "factor": factor, "mscale": mscale, "mscale_all_dim": mscale_all_dim,
            "original_max_position_embeddings": original, "type": "yarn"} | more


DEEPSEEK_V2 = [
    Case(
        "deepseek_v2", "plain", "as V2-Lite: no query compression, greedy, 2 shared experts, yarn's mscale 0.707; 3 heads",
        mla(60, 3, 68, 3, 283, query_rank=None, latent=28, nope=20, rope=12, value=18, max_position_embeddings=1280,
            rms_norm_eps=1e-6, tie_word_embeddings=False, rope_theta=10000, rope_scaling=yarn(40, 32, 0.707, 0.707),
            **v2(14, 8, 3)),
        lengths=[17, 1, 160], seed=511, rows=32, trace=True, qk_scale=1.5,
    ),
    Case(
        "deepseek_v2", "groups", "as V2: query compression, 2 of 4 groups by their largest, factor 16; 7 heads; F16; 3 files",
        mla(56, 7, 60, 2, 101, query_rank=30, latent=20, nope=10, rope=14, value=12, max_position_embeddings=640,
            rms_norm_eps=0.02, tie_word_embeddings=False, rope_theta=10000, rope_scaling=yarn(40, 16, 0.707, 0.707),
            **v2(12, 16, 4, groups=4, kept=2, scale=16.0)),
        lengths=[30, 140], seed=402, rows=40, storage=F16, shards=3, qk_scale=1.4,
    ),
    Case(
        "deepseek_v2", "frequency", "experts in every second layer; mscale is not mscale_all_dim; new spelling; tied; F32",
        mla(48, 3, 40, 4, 101, query_rank=None, latent=24, nope=14, rope=16, value=12, max_position_embeddings=512,
            rms_norm_eps=1e-6, tie_word_embeddings=True,
            rope_parameters={"rope_type": "yarn", "rope_theta": 50000.0, "factor": 8.0, "mscale": 1.0,
                             "mscale_all_dim": 0.5, "beta_fast": 16, "beta_slow": 0.5, "original_max_position_embeddings": 64},
            **v2(14, 6, 2, frequency=2, shared=1)),
        lengths=[30, 150], seed=403, rows=40, storage=F32, qk_scale=1.4,
    ),
    Case(
        "deepseek_v2", "long_yarn", "4,300 tokens past 1,024 original positions; 64 rotated components; 2 heads",
        mla(32, 2, 40, 2, 101, query_rank=None, latent=24, nope=16, rope=64, value=16, max_position_embeddings=8192,
            rms_norm_eps=1e-6, tie_word_embeddings=True, rope_theta=10000, rope_scaling=yarn(8, 1024, 0.707, 0.707),
            **v2(24, 6, 2)),
        lengths=[30, 4300], seed=404, rows=14, keep=[0, 1023, 1024, 1025, 2048, 4095, 4096, 4097, 4299], qk_scale=1.4,
    ),
]

DEEPSEEK_V3 = [
    Case(
        "deepseek_v3", "plain", "as V3: query compression, 2 of 4 groups, 4 of 16 experts; 5 heads; rope unscaled",
        mla(60, 5, 56, 3, 283, query_rank=34, latent=26, nope=14, rope=10, value=18, max_position_embeddings=256,
            rms_norm_eps=1e-6, tie_word_embeddings=False, rope_theta=10000, rope_scaling=None,
            **v3(10, 16, 4, groups=4, kept=2)),
        lengths=[17, 1, 160], seed=501, rows=32, trace=True,
    ),
    Case(
        "deepseek_v3", "mtp", "multi-token prediction after 4 layers, 3 of them dense; yarn as V3's; 3 heads; 3 files",
        mla(48, 3, 44, 4, 101, query_rank=26, latent=22, nope=12, rope=12, value=10, max_position_embeddings=1280,
            rms_norm_eps=1e-6, tie_word_embeddings=False, rope_theta=10000, rope_scaling=yarn(40, 32, 1.0, 1.0),
            num_nextn_predict_layers=1, **v3(10, 12, 3, groups=3, kept=2, dense=3)),
        lengths=[26, 1, 2, 150], seed=502, rows=40, shards=3, qk_scale=1.2,
    ),
    Case(
        "deepseek_v3", "ungrouped", "one group, weights not normalised, no dense layer, no query compression; new spelling",
        mla(48, 3, 64, 2, 283, query_rank=None, latent=20, nope=12, rope=12, value=14, max_position_embeddings=256,
            rms_norm_eps=0.02, tie_word_embeddings=False, rope_interleave=True,
            rope_parameters={"rope_type": "default", "rope_theta": 100000.0},
            **v3(16, 6, 2, normalised=False, dense=0)),
        lengths=[20, 140], seed=503, rows=32,
    ),
    Case(
        "deepseek_v3", "fp8", "linear weights in e4m3 with a factor for every 128 x 128 block; 3 files",
        mla(160, 4, 140, 2, 67, query_rank=36, latent=136, nope=24, rope=16, value=20, max_position_embeddings=256,
            rms_norm_eps=1e-6, tie_word_embeddings=False, rope_theta=10000, rope_scaling=None,
            quantization_config={"activation_scheme": "dynamic", "fmt": "e4m3", "quant_method": "fp8",
                                 "weight_block_size": [128, 128]},
            **v3(16, 8, 3, groups=2, kept=1)),
        lengths=[28, 140], seed=504, rows=40, shards=3,
    ),
    Case(
        "deepseek_v3", "long_yarn", "4,300 tokens past 1,024 original positions; yarn as V3's; 64 rotated components",
        mla(32, 2, 40, 2, 101, query_rank=24, latent=24, nope=16, rope=64, value=16, max_position_embeddings=8192,
            rms_norm_eps=1e-6, tie_word_embeddings=True, rope_theta=10000, rope_scaling=yarn(8, 1024, 1.0, 1.0),
            **v3(24, 8, 2, groups=4, kept=2)),
        lengths=[30, 4300], seed=705, rows=14, keep=[0, 1023, 1024, 1025, 2048, 4095, 4096, 4097, 4299], qk_scale=1.2,
    ),
]
