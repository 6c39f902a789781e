"""What kind of value each field of a request takes. The fields themselves, and what is said of them, come from the tables
in the code, by way of docs/fields.md; a heading there is a key here. Fields that are refused have no type."""

import messages
import responses
from shapes import a_list, any_object, asked, either, flag, integer, number, one_of, or_null, ref, text

INT32 = 2**31 - 1
EFFORTS = ("none", "minimal", "low", "medium", "high", "xhigh", "max")
TOKENS = a_list(integer(0, INT32))
PENALTY = number(-100, 100)
BUDGET = integer(-1, INT32)

TYPES = {
    "Fields of every answer": {
        "model": text(1), "stream": flag(), "seed": integer(-(2**63), 2**64 - 1), "temperature": number(0, 100),
        "top_p": number(0, 1), "top_k": integer(-1, 2**30), "min_p": number(0, 1), "presence_penalty": PENALTY,
        "frequency_penalty": PENALTY, "repetition_penalty": number(0.001, 1000), "repeat_penalty": number(0.001, 1000),
        "logit_bias": {"type": "object", "propertyNames": {"pattern": "^[0-9]+$"}, "additionalProperties": PENALTY,
                       "maxProperties": 1024},
        "allowed_token_ids": TOKENS | {"minItems": 1}, "min_tokens": integer(0),
        "stop": either(text(1), a_list(text(1), most=16)), "stop_token_ids": TOKENS,
        "include_stop_str_in_output": flag(), "ignore_eos": flag(), "skip_special_tokens": flag(),
        "cache_salt": text(1, 1024), "cache_prompt": flag(), "user": text(), "safety_identifier": text(),
        "prompt_cache_key": text(), "prompt_cache_retention": text(), "request_id": text(), "session_id": text(),
        "spaces_between_special_tokens": flag(), "length_penalty": number(),
    },
    "Fields of every conversation": {
        "parallel_tool_calls": flag(), "chat_template_kwargs": any_object(), "documents": a_list(any_object(), most=1024),
        "enable_thinking": flag(), "reasoning_effort": one_of(*EFFORTS),
        "thinking": asked({"type": one_of("enabled", "disabled", "adaptive")}, {"budget_tokens": BUDGET, "budget": BUDGET}),
        "thinking_token_budget": BUDGET, "thinking_budget": BUDGET, "thinking_budget_tokens": BUDGET,
        "max_thinking_tokens": BUDGET,
    },
    "Fields of chat and completions": {
        "n": integer(1, 128), "max_tokens": integer(-1, INT32), "n_predict": integer(-1, INT32), "return_token_ids": flag(),
        "stream_options": asked({}, {"include_usage": flag(), "continuous_usage_stats": flag(),
                                     "include_obfuscation": flag()}),
        "metadata": any_object(),
    },
    "Fields of chat": {
        "messages": a_list(ref("ChatMessage"), least=1), "max_completion_tokens": integer(1, INT32), "logprobs": flag(),
        "top_logprobs": integer(0, 20), "tools": a_list(ref("ChatTool"), most=128), "tool_choice": one_of("none", "auto"),
        "reasoning": asked({}, {"effort": one_of(*EFFORTS), "enabled": flag(), "max_tokens": BUDGET, "exclude": flag()}),
        "include_reasoning": flag(), "add_generation_prompt": flag(), "continue_final_message": flag(),
        "prediction": any_object(),
    },
    "Fields of completions": {
        "prompt": either(text(), TOKENS | {"minItems": 1}, a_list(text(), 1, 2048),
                         a_list(TOKENS | {"minItems": 1}, 1, 2048)),
        "suffix": text(), "echo": flag(), "logprobs": integer(0, 20), "best_of": integer(1, 128),
        "add_special_tokens": flag(),
    },
    "Fields of embeddings": {
        "model": text(1), "input": either(text(1), TOKENS | {"minItems": 1}, a_list(text(1), 1, 2048),
                                          a_list(TOKENS | {"minItems": 1}, 1, 2048)),
        "encoding_format": one_of("float", "base64"), "dimensions": integer(1), "pooling": one_of("last", "mean", "cls"),
        "normalize": flag(), "use_activation": flag(), "embd_normalize": one_of(2, -1), "add_special_tokens": flag(),
        "cache_salt": text(1, 1024), "cache_prompt": flag(), "user": text(), "safety_identifier": text(), "request_id": text(),
    },
    "Fields of responses": responses.TYPES,
    "Fields of messages": messages.TYPES,
}

TEXTS = either(text(), a_list({"type": "object", "required": ["type", "text"],
                               "properties": {"type": one_of("text"), "text": text()}}))
# As the template is given it, further members as well.
FUNCTION = {"type": "object", "required": ["name"], "properties": {
    "name": text(1, 64, pattern=r"^[^\s\"'\\<>]+$"), "description": or_null(text()), "parameters": or_null(any_object()),
    "strict": or_null(flag())}}

ROLES = ("system", "developer", "user", "tool", "function")
# What a template may read besides.
OF_MESSAGE = {"tool_calls": or_null(a_list(ref("ChatCall"))), "tool_call_id": or_null(text()),
              "reasoning_content": {}, "reasoning": {}, "thinking": {}}


def message(role, required, **properties):
    return {"type": "object", "required": ["role", *required], "properties": {"role": role} | properties | OF_MESSAGE}


# Parts of requests that have a name. A message's further members are given to the template.
PARTS = {
    "ChatMessage": either(
        message(one_of(*ROLES), ["content"], content=TEXTS),
        *(message(one_of("assistant"), [required], content=or_null(TEXTS))
          for required in ("content", "tool_calls", "reasoning_content", "reasoning", "thinking"))),
    "ChatCall": {
        "type": "object", "required": ["function"],
        "properties": {
            "id": or_null(text()),
            "type": or_null(one_of("function")),
            "function": {"type": "object", "required": ["name"],
                         "properties": {"name": text(), "arguments": either(text(), any_object(), {"type": "null"})}}}},
    **responses.PARTS,
    **messages.PARTS,
    "ChatTool": {"type": "object", "required": ["type", "function"],
                 "properties": {"type": one_of("function"), "function": FUNCTION}},
}

# The endpoints whose fields are in no table.
TOKENIZE = asked({}, {
    "model": text(1), "prompt": text(), "content": text(), "messages": a_list(ref("ChatMessage"), least=1),
    "add_special_tokens": flag(), "add_special": flag(), "parse_special": flag(), "return_token_strs": flag(),
    "with_pieces": flag(), "tools": a_list(ref("ChatTool"), most=128), "tool_choice": one_of("none", "auto"),
    "add_generation_prompt": flag(), "continue_final_message": flag(), "chat_template_kwargs": any_object(),
    "documents": a_list(any_object(), most=1024), "enable_thinking": flag(), "reasoning_effort": one_of(*EFFORTS),
    "thinking": TYPES["Fields of every conversation"]["thinking"], "reasoning": TYPES["Fields of chat"]["reasoning"]})
DETOKENIZE = asked({"tokens": TOKENS}, {"model": text(1)})
