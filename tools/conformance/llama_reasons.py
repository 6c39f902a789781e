"""Which of llama.cpp's server tests do not concern us, and why. Tests by name run and must fail as they do now."""

import fnmatch
import re

SLOW = "a real model that is not here"

# Whole files.
FILES = {
    "test_metrics.py": "llama.cpp's own names of metrics",
    "test_stream.py": "resuming a stream through a router of several models is llama.cpp's own",
}

# Paths that a test asks.
PATHS = {path: f"{path} is llama.cpp's own" for path in (
    "/completion", "/infill", "/apply-template", "/props", "/slots", "/embeddings", "/chat/completions/input_tokens",
    "/cors-proxy")}

# Options that a test starts its server with.
OPTIONS = {
    "not_here": "a kind of model that is not here",
    "model_tags": "a model has one name and no tags",
    "no_ui": "there is no page to look at",
    "enable_ctx_shift": "a context is never shifted",
    "gcp_compat": "another cloud's endpoint",
}

PRESETS = {
    "tinygemma3": "the models here read text",
    "router": "one server has one model",
    "jina_reranker_tiny": "nothing is reranked",
}

# Tests whose expectation is not ours. A name may end in *.
FORM = "answers of a given form are not there yet; refused by name"
OWN_FIELD = "a field of llama.cpp's own; refused by name"
OWN_PATH = "/completion is llama.cpp's own"
MIXED = "objects, and texts and tokens in one list, are llama.cpp's own; OpenAI takes lists of one kind"
TESTS = {
    "test_chat_completion.py::test_chat_completion_cached_tokens": "counts tokens of its model",
    "test_chat_completion.py::test_chat_template": "looks at __verbose, llama.cpp's own",
    "test_chat_completion.py::test_chat_template_assistant_prefill[*": "looks at __verbose, llama.cpp's own",
    "test_chat_completion.py::test_chat_template_continue_final_message_vllm_compat": "looks at __verbose, llama.cpp's own",
    "test_chat_completion.py::test_completion_with_response_format[response_format[0-3]*": FORM,
    "test_chat_completion.py::test_completion_with_json_schema[*": FORM,
    "test_chat_completion.py::test_completion_with_grammar[*": FORM,
    "test_chat_completion.py::test_invalid_chat_completion_req[messages7]":
        "two messages of the assistant in a row are taken here",
    "test_chat_completion.py::test_chat_completion_with_timings_per_token": OWN_FIELD,
    "test_chat_completion.py::test_return_progress[*": OWN_FIELD,
    "test_chat_completion.py::test_verbose_debug": OWN_FIELD,
    "test_chat_completion.py::test_logprobs_stream": "the text before the first is null there, empty with OpenAI and here",
    "test_chat_completion.py::test_context_size_exceeded*": "llama.cpp's own type of error; OpenAI's is a code here",
    "test_completion.py::test_completion_parallel_slots[*": OWN_PATH,
    "test_completion.py::test_completion_unified[*": OWN_PATH,
    "test_compat_anthropic.py::test_anthropic_tool_result_with_image": "images are refused with 400 here, with 500 there",
    "test_compat_anthropic.py::test_anthropic_vision_format_accepted": "images are refused with 400 here, with 500 there",
    "test_compat_anthropic.py::test_anthropic_empty_messages": "no messages are refused here, as Anthropic does",
    "test_compat_oai_responses.py::test_responses_stream_with_llama_telemetry": OWN_FIELD,
    "test_embedding.py::test_embedding_mixed_input[-False]": "an empty text is refused here, as OpenAI does",
    "test_embedding.py::test_embedding_mixed_input[input3-False]": MIXED,
    "test_embedding.py::test_embedding_mixed_input[input5-True]": MIXED,
    "test_embedding.py::test_embedding_mixed_input[input7-True]": MIXED,
    "test_embedding.py::test_embedding_mixed_input[input8-False]": MIXED,
    "test_embedding.py::test_embedding_mixed_input[input9-False]": MIXED,
    "test_embedding.py::test_embedding_mixed_input[input10-True]": MIXED,
    "test_embedding.py::test_embedding_content_text_same_as_string": MIXED,
    "test_embedding.py::test_embedding_error_prompt_too_long": "llama.cpp's own words for an input that is too long",
    "test_embedding.py::test_embedding_usage_multiple": "counts tokens of its model",
    "test_security.py::test_correct_api_key*": "expects the answer of /completion, llama.cpp's own",
    "test_security.py::test_incorrect_api_key[*": "the type that OpenAI gives a wrong key is another",
    "test_security.py::test_cors_options[*": "pages of any origin may ask there, of --cors-origin here",
    "test_security.py::test_access_static_assets_without_api_key": "there is no page to look at",
    "test_basic.py::test_no_ui": "there is no page to look at",
    "test_basic.py::test_server_multiple_addresses": "a server has one address",
    "test_tokenize.py::test_tokenize_with_bos": "the model has no BOS",
}


def of_test(name):
    """Why a test is expected to fail. In a pattern * and [0-3] stand for more, any other bracket for itself."""
    return next((why for pattern, why in TESTS.items() if fnmatch.fnmatchcase(name, _LITERAL.sub("[[]", pattern))), None)


_LITERAL = re.compile(r"\[(?![0-9]-[0-9]\])")
