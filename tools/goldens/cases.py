"""The tiny models that the engine is compared on: one Case per model, written as a published config.json would be.

Every case names the mechanisms that it covers through its config alone; `switches.py` derives from the config which of
them can be switched off, and `models.py` demands that each of them matters.
"""

from case import F16, F32, Case, shape
from deepseek_cases import DEEPSEEK_V2, DEEPSEEK_V3
from qwen_moe_cases import QWEN2_MOE, QWEN3_MOE

QWEN2 = [
    Case(
        "qwen2", "plain", "6 heads on 2, tails in every dimension; a window that use_sliding_window switches off",
        shape(72, 6, 2, 100, 3, 283, max_position_embeddings=256, rope_theta=10000.0, rms_norm_eps=1e-6,
              tie_word_embeddings=False, use_sliding_window=False, sliding_window=16, max_window_layers=1),
        lengths=[29, 1, 160], seed=101, trace=True,
    ),
    Case(
        "qwen2", "window", "5 heads on 1; the first 2 of 4 layers full, the others with a window; tied; 3 files",
        shape(70, 5, 1, 90, 4, 211, max_position_embeddings=512, rms_norm_eps=1e-5, tie_word_embeddings=True,
              rope_parameters={"rope_type": "default", "rope_theta": 1000000.0},
              use_sliding_window=True, sliding_window=19, max_window_layers=2),
        lengths=[7, 130], seed=102, shards=3,
    ),
    Case(
        "qwen2", "layer_types_yarn", "7 heads on 7; layer_types against max_window_layers; yarn, old spelling; F16",
        shape(56, 7, 7, 76, 3, 149, max_position_embeddings=256, rms_norm_eps=0.02, tie_word_embeddings=False,
              rope_theta=50000.0,
              rope_scaling={"type": "yarn", "factor": 4.0, "original_max_position_embeddings": 64},
              use_sliding_window=True, sliding_window=33, max_window_layers=28,
              layer_types=["sliding_attention", "full_attention", "sliding_attention"]),
        lengths=[64, 200], seed=103, storage=F16,
    ),
    Case(
        "qwen2", "dynamic", "dynamic scaling below, at, just over and far over max_position_embeddings",
        shape(48, 4, 2, 68, 2, 131, max_position_embeddings=64, rms_norm_eps=1e-6, tie_word_embeddings=True,
              rope_theta=10000.0, rope_scaling={"type": "dynamic", "factor": 2.5}),
        lengths=[50, 64, 65, 200], seed=104,
    ),
    Case(
        "qwen2", "long_linear", "4,300 tokens; linear scaling; a window of 700 in layer 1; head_dim 64",
        shape(128, 2, 1, 44, 2, 101, max_position_embeddings=8192, rms_norm_eps=1e-6, tie_word_embeddings=False,
              rope_parameters={"rope_type": "linear", "rope_theta": 1000000.0, "factor": 4.0},
              use_sliding_window=True, sliding_window=700, max_window_layers=1),
        lengths=[4300], seed=105, rows=14, keep=[0, 699, 700, 701, 2048, 4095, 4096, 4097, 4299],
    ),
]

QWEN3 = [
    Case(
        "qwen3", "plain", "6 heads on 2, head_dim 20 where width / heads is 12; F32 storage; new spelling",
        shape(72, 6, 2, 100, 3, 283, head_dim=20, max_position_embeddings=256, rms_norm_eps=1e-6,
              tie_word_embeddings=False, rope_parameters={"rope_type": "default", "rope_theta": 1000000},
              attention_bias=False, use_sliding_window=False, sliding_window=None, max_window_layers=3),
        lengths=[23, 1, 160], seed=201, storage=F32, trace=True,
    ),
    Case(
        "qwen3", "window_linear", "5 heads on 1; the first of 3 layers full; linear, old spelling; tied; 2 files",
        shape(60, 5, 1, 84, 3, 173, head_dim=16, max_position_embeddings=256, rms_norm_eps=1e-6,
              tie_word_embeddings=True, rope_theta=10000.0, rope_scaling={"type": "linear", "factor": 3.0},
              attention_bias=False, use_sliding_window=True, sliding_window=21, max_window_layers=1),
        lengths=[21, 140], seed=202, shards=2,
    ),
    Case(
        "qwen3", "yarn", "yarn as the model cards say to add it, old spelling; 4 heads on 2; tied",
        shape(48, 4, 2, 68, 2, 283, head_dim=16, max_position_embeddings=64, rms_norm_eps=1e-6,
              tie_word_embeddings=True, rope_theta=1000000,
              rope_scaling={"rope_type": "yarn", "factor": 4.0, "original_max_position_embeddings": 32},
              attention_bias=False, use_sliding_window=False, sliding_window=None, max_window_layers=2),
        lengths=[30, 150], seed=206,
    ),
    Case(
        "qwen3", "yarn_factor", "7 heads on 7; yarn with its own attention_factor and betas; a large norm eps",
        shape(56, 7, 7, 76, 2, 149, head_dim=24, max_position_embeddings=256, rms_norm_eps=0.02,
              tie_word_embeddings=False,
              rope_parameters={"rope_type": "yarn", "rope_theta": 10000.0, "factor": 4.0, "attention_factor": 1.35,
                               "beta_fast": 16.0, "beta_slow": 2, "original_max_position_embeddings": 64},
              attention_bias=False, use_sliding_window=False, sliding_window=None, max_window_layers=2),
        lengths=[40, 200], seed=203,
    ),
    Case(
        "qwen3", "dynamic_window", "dynamic scaling with windows by layer_types; 8 heads on 2; F16 storage",
        shape(64, 8, 2, 72, 2, 137, head_dim=14, max_position_embeddings=72, rms_norm_eps=1e-6,
              tie_word_embeddings=True, rope_parameters={"rope_type": "dynamic", "rope_theta": 10000.0, "factor": 2},
              attention_bias=False, use_sliding_window=True, sliding_window=40, max_window_layers=2,
              layer_types=["sliding_attention", "full_attention"]),
        lengths=[72, 180], seed=204, storage=F16,
    ),
    Case(
        "qwen3", "long_yarn", "4,300 tokens past 1,024 original positions; yarn untruncated; attn_factor is ignored",
        shape(32, 3, 1, 40, 2, 101, head_dim=64, max_position_embeddings=4096, rms_norm_eps=1e-6,
              tie_word_embeddings=True, rope_theta=1000000,
              rope_scaling={"rope_type": "yarn", "factor": 4.0, "original_max_position_embeddings": 1024,
                            "attn_factor": 0.878, "truncate": False},
              attention_bias=False, use_sliding_window=False, sliding_window=None, max_window_layers=2),
        lengths=[4300], seed=205, rows=14, keep=[0, 1023, 1024, 1025, 2048, 4095, 4096, 4097, 4299],
    ),
]

LLAMA = [
    Case(
        "llama", "plain", "6 heads on 2, head_dim left out; old spelling with rope_scaling null; F16 storage",
        shape(72, 6, 2, 100, 3, 283, max_position_embeddings=256, rms_norm_eps=1e-5, tie_word_embeddings=False,
              rope_theta=10000.0, rope_scaling=None, attention_bias=False, mlp_bias=False),
        lengths=[31, 1, 160], seed=301, storage=F16, trace=True,
    ),
    Case(
        "llama", "llama3", "5 heads on 1, head_dim 24 where width / heads is 16; llama3, new spelling; tied; 3 files",
        shape(80, 5, 1, 92, 2, 283, head_dim=24, max_position_embeddings=512, rms_norm_eps=1e-5,
              tie_word_embeddings=True, attention_bias=False, mlp_bias=False,
              rope_parameters={"rope_type": "llama3", "rope_theta": 500000.0, "factor": 8.0, "low_freq_factor": 1.0,
                               "high_freq_factor": 4.0, "original_max_position_embeddings": 64}),
        lengths=[33, 200], seed=302, shards=3,
    ),
    Case(
        "llama", "yarn_mscale", "7 heads on 7; yarn with mscale and mscale_all_dim; F32 storage",
        shape(70, 7, 7, 76, 2, 149, head_dim=22, max_position_embeddings=256, rms_norm_eps=1e-6,
              tie_word_embeddings=False, attention_bias=False, mlp_bias=False,
              rope_parameters={"rope_type": "yarn", "rope_theta": 10000.0, "factor": 8, "mscale": 2.0,
                               "mscale_all_dim": 0.5, "original_max_position_embeddings": 32}),
        lengths=[32, 200], seed=303, storage=F32,
    ),
    Case(
        "llama", "linear", "8 heads on 4; linear scaling, old spelling; a large norm eps",
        shape(64, 8, 4, 84, 2, 283, max_position_embeddings=128, rms_norm_eps=0.01, tie_word_embeddings=True,
              rope_theta=20000.0, rope_scaling={"type": "linear", "factor": 2.0},
              attention_bias=False, mlp_bias=False),
        lengths=[15, 250], seed=304,
    ),
    Case(
        "llama", "dynamic", "dynamic scaling, rope_theta left to its default; 3 heads on 1",
        shape(36, 3, 1, 52, 3, 127, head_dim=18, max_position_embeddings=50, rms_norm_eps=1e-5,
              tie_word_embeddings=False, rope_scaling={"rope_type": "dynamic", "factor": 4.0},
              attention_bias=False, mlp_bias=False),
        lengths=[50, 51, 220], seed=305,
    ),
    Case(
        "llama", "long_llama3", "4,300 tokens past 1,024 original positions; llama3, old spelling; 2 heads of 64 on 1",
        shape(32, 2, 1, 40, 2, 101, head_dim=64, max_position_embeddings=8192, rms_norm_eps=1e-5,
              tie_word_embeddings=True, rope_theta=500000.0, attention_bias=False, mlp_bias=False,
              rope_scaling={"rope_type": "llama3", "factor": 8.0, "low_freq_factor": 1.0, "high_freq_factor": 4.0,
                            "original_max_position_embeddings": 1024}),
        lengths=[4300], seed=306, rows=14, keep=[0, 1023, 1024, 1025, 2048, 4095, 4096, 4097, 4299],
    ),
]

CASES = QWEN2 + QWEN3 + LLAMA + QWEN2_MOE + QWEN3_MOE + DEEPSEEK_V2 + DEEPSEEK_V3
