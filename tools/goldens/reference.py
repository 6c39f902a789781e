"""The reference: transformers in float32, loaded from a stored checkpoint, a fresh object for every forward pass."""

import tempfile
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import Callable

import torch
import transformers
from transformers import AutoConfig, AutoModelForCausalLM
from transformers.models.deepseek_v2 import modeling_deepseek_v2 as deepseek_v2
from transformers.models.deepseek_v3 import modeling_deepseek_v3 as deepseek_v3

import files
import fp8
import routing
from case import Case

ARCHITECTURES = {
    "qwen2": "Qwen2ForCausalLM", "qwen3": "Qwen3ForCausalLM", "llama": "LlamaForCausalLM",
    "qwen2_moe": "Qwen2MoeForCausalLM", "qwen3_moe": "Qwen3MoeForCausalLM",
    "deepseek_v2": "DeepseekV2ForCausalLM", "deepseek_v3": "DeepseekV3ForCausalLM",
}
DTYPE_WORDS = {torch.float32: "float32", torch.float16: "float16", torch.bfloat16: "bfloat16"}

transformers.utils.logging.set_verbosity_error()
transformers.utils.logging.disable_progress_bar()
torch.set_num_threads(1)
torch.use_deterministic_algorithms(True)


def config_json(case: Case) -> dict:
    """config.json in the spelling of its time: old files say torch_dtype and rope_scaling, new ones dtype and
    rope_parameters."""
    new = "rope_parameters" in case.config
    return {
        "architectures": [ARCHITECTURES[case.family]],
        "attention_dropout": 0.0,
        "bos_token_id": 1,
        "eos_token_id": [2, 3] if new else 2,
        "hidden_act": "silu",
        "initializer_range": 0.02,
        "model_type": case.family,
        **case.config,
        ("dtype" if new else "torch_dtype"): DTYPE_WORDS[case.storage],
        "transformers_version": transformers.__version__ if new else "4.46.0",
        "use_cache": True,
    }


def stored_weights(folder: Path) -> dict[str, torch.Tensor]:
    weights = {}
    for part in sorted(folder.glob("model*.safetensors")):
        weights |= files.load_tensors(part)[0]
    return weights


@contextmanager
def dequantized_copy(folder: Path, config, dequantize: Callable):
    """A folder with the FP8 checkpoint's weights in float32; `config` no longer says that they are quantized."""
    del config.quantization_config
    with tempfile.TemporaryDirectory() as temporary:
        files.save_checkpoint(Path(temporary), {}, dequantize(stored_weights(folder)), 1)
        yield temporary


def check_softmax_scales() -> None:
    """transformers multiplies the softmax scale by the square of yarn's mscale: at the sizes of DeepSeek-V2-Lite and V2
    0.1147214, at V3's 0.1352338 (earlier versions left it out of deepseek_v2: 0.0721688)."""
    for mscale, lite, want in ((0.707, True, 0.1147214), (0.707, False, 0.1147214), (1.0, False, 0.1352338)):
        yarn = {"type": "yarn", "factor": 40, "original_max_position_embeddings": 4096, "beta_fast": 32, "beta_slow": 1,
                "mscale": mscale, "mscale_all_dim": mscale}
        config = {"hidden_size": 2048, "num_attention_heads": 16, "num_key_value_heads": 16, "kv_lora_rank": 512,
                  "q_lora_rank": None if lite else 1536, "qk_nope_head_dim": 128, "qk_rope_head_dim": 64, "v_head_dim": 128,
                  "max_position_embeddings": 163840, "rope_theta": 10000, "rope_scaling": yarn}
        with torch.device("meta"):
            for config_class, attention_class in (
                (deepseek_v2.DeepseekV2Config, deepseek_v2.DeepseekV2Attention),
                (deepseek_v3.DeepseekV3Config, deepseek_v3.DeepseekV3Attention),
            ):
                scale = attention_class(config_class(**config), 0).scaling
                assert abs(scale - want) < 5e-8, (mscale, scale)


@contextmanager
def every_second_layer_dense(config):
    """moe_layer_freq as in the code released with DeepSeek-V2: a layer is MoE only if its index is a multiple of it.
    transformers' own class does not look at the key."""
    layer_class = deepseek_v2.DeepseekV2DecoderLayer
    original = layer_class.__init__

    def with_frequency(self, config, layer_idx):
        original(self, config, layer_idx)
        if layer_idx % config.moe_layer_freq:
            self.mlp = deepseek_v2.DeepseekV2MLP(config)

    layer_class.__init__ = with_frequency
    try:
        yield
    finally:
        layer_class.__init__ = original


def load(folder: Path, edit_config: Callable | None = None, dequantize: Callable = fp8.dequantized):
    """A fresh float32 model of the stored checkpoint, its config changed by `edit_config` after it was read; FP8 weights
    become float32 by `dequantize`, not by transformers."""
    config = AutoConfig.from_pretrained(folder)
    if edit_config:
        edit_config(config)
    quantized = hasattr(config, "quantization_config")
    source = dequantized_copy(folder, config, dequantize) if quantized else nullcontext(folder)
    layers = every_second_layer_dense(config) if getattr(config, "moe_layer_freq", 1) > 1 else nullcontext()
    with source as source_folder, layers:
        model, info = AutoModelForCausalLM.from_pretrained(
            source_folder, config=config, dtype=torch.float32, attn_implementation="eager",
            experts_implementation="eager", output_loading_info=True,
        )
    # The module of multi-token prediction is stored as layers after the last; the model proper has no use for them.
    extra = tuple(f"model.layers.{config.num_hidden_layers + i}." for i in range(getattr(config, "num_mtp_layers", 0)))
    info["unexpected_keys"] = {name for name in info["unexpected_keys"] if not name.startswith(extra)}
    assert not any(info.values()), f"{folder}: {info}"
    assert model.config._attn_implementation == "eager" and model.config._experts_implementation == "eager"
    assert all(p.dtype == torch.float32 for p in model.parameters())
    return model.eval()


@torch.no_grad()
def forward(model, tokens: torch.Tensor) -> torch.Tensor:
    """Logits [T, W] of one whole sequence without a cache."""
    logits = model(input_ids=tokens[None].long(), use_cache=False).logits[0]
    assert logits.dtype == model.dtype
    return logits


@torch.no_grad()
def forward_traced(model, tokens: torch.Tensor) -> dict[str, torch.Tensor]:
    """The points of every layer of one whole sequence: its input, what its two halves add, and the final norm."""
    points: dict[str, torch.Tensor] = {}

    def keep(name: str):
        def hook(module, inputs, output):
            points[name] = (output[0] if isinstance(output, tuple) else output)[0].clone()

        return hook

    def keep_input(name: str):
        def hook(module, args, kwargs):
            points[name] = (args[0] if args else kwargs["hidden_states"])[0].clone()

        return hook

    for i, layer in enumerate(model.model.layers):
        layer.register_forward_pre_hook(keep_input(f"layer.{i}.input"), with_kwargs=True)
        layer.self_attn.register_forward_hook(keep(f"layer.{i}.attn.out"))
        layer.mlp.register_forward_hook(keep(f"layer.{i}.ffn.out"))
    model.model.norm.register_forward_hook(keep("final_norm"))
    points["logits"] = forward(model, tokens)
    return points


def check_masks(model, tokens: torch.Tensor) -> None:
    """Softmax runs in float32, and key s is visible to query p exactly if p - W < s <= p (W: none in a full layer)."""
    with torch.no_grad():
        out = model(input_ids=tokens[None].long(), use_cache=False, output_attentions=True)
    p, s = torch.arange(len(tokens))[:, None], torch.arange(len(tokens))[None]
    for layer, probability in zip(model.model.layers, out.attentions, strict=True):
        window = getattr(layer.self_attn, "sliding_window", None) or len(tokens)
        assert probability.dtype == torch.float32
        hidden = ~((s <= p) & (s > p - window))
        assert not probability[0][:, hidden].any(), "attention outside of the window"
        oldest = s == (p - window + 1).clamp(min=0)
        assert (probability[0][:, oldest] > 0).any(), "a window narrower than stated"


@contextmanager
def everything_in_f64(model):
    """Inside, `model` computes in float64 (norms and softmax too); only RoPE's tables keep their float32 values."""
    norm_class, softmax = type(model.model.norm), torch.nn.functional.softmax
    norm_forward, rotate = norm_class.forward, deepseek_v2.apply_rotary_emb

    def norm_f64(self, x):
        return self.weight * (x * torch.rsqrt(x.pow(2).mean(-1, keepdim=True) + self.variance_epsilon))

    def rotate_f64(q, k, turns):
        def turned(x):
            return torch.view_as_real(torch.view_as_complex(x.unflatten(-1, (-1, 2))) * turns.unsqueeze(1)).flatten(3)

        return turned(q), turned(k)

    norm_class.forward = norm_f64
    deepseek_v2.apply_rotary_emb = rotate_f64
    torch.nn.functional.softmax = lambda x, dim, dtype=None: softmax(x, dim=dim)
    gates = routing.routers(model).values()
    if gates:
        routing.route_by(routing.rule_of(model.config), gates)
    try:
        yield model.double()
    finally:
        norm_class.forward, torch.nn.functional.softmax = norm_forward, softmax
        deepseek_v2.apply_rotary_emb = rotate
