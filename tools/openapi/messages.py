"""/v1/messages and /v1/messages/count_tokens: what their fields take, and what they answer."""

from shapes import a_list, answer, any_object, asked, either, flag, integer, one_of, or_null, ref, text

COUNT = integer(0)
EFFORTS = ("none", "minimal", "low", "medium", "high", "xhigh", "max")


def block(kind, **properties):
    """A block of a request. It may have further members, which say nothing more."""
    optional = {name.removesuffix("_"): properties.pop(name) for name in list(properties) if name.endswith("_")}
    return {"type": "object", "required": ["type", *properties],
            "properties": {"type": one_of(kind)} | properties | {name: or_null(schema) for name, schema in optional.items()}}


TEXT = block("text", text=text())
TOOL_CHANGE = {"tool": block("tool_reference", name=text())}

TYPES = {
    "max_tokens": integer(1, 2**31 - 1), "messages": a_list(ref("Message"), 1), "system": ref("SystemContent"),
    "stop_sequences": a_list(text(1), most=16),
    "thinking": asked({"type": one_of("enabled", "disabled", "adaptive")},
                      {"budget_tokens": integer(-1, 2**31 - 1), "display": one_of("summarized", "omitted", "updates"),
                       "block_binding": any_object()}),
    "output_config": asked({}, {"effort": one_of(*EFFORTS)}), "tools": a_list(ref("MessageTool"), most=128),
    "tool_choice": {"type": "object", "required": ["type"], "properties": {
        "type": one_of("auto", "none"), "disable_parallel_tool_use": or_null(flag())}},
    "context_management": {"type": "object", "properties": {"edits": or_null(a_list(
        {"type": "object", "required": ["type"], "properties": {"type": text(pattern="^clear_(thinking|tool_uses)_")}}, most=64))}},
    "metadata": {"type": "object", "properties": {"user_id": or_null(text())}}, "cache_control": any_object(),
    "service_tier": one_of("auto", "standard_only"), "inference_geo": text(), "betas": a_list(text(), most=1024),
    "fallbacks": either(text(), a_list({}, most=1024)), "billing_policy": any_object(), "user_profile_id": text(),
    "workspace_id": text(), "safeguards": a_list({}, most=1024),
}

PARTS = {
    "Message": either(
        {"type": "object", "required": ["role", "content"], "properties": {
            "role": one_of("user"), "content": either(text(1), a_list(ref("UserBlock"), 1))}},
        {"type": "object", "required": ["role", "content"], "properties": {
            "role": one_of("assistant"), "content": either(text(), a_list(ref("AssistantBlock")))}},
        {"type": "object", "required": ["role"], "properties": {
            "role": one_of("system"), "content": or_null(ref("SystemContent")),
            "output_config": or_null(asked({}, {"effort": one_of(*EFFORTS)})),
            "clear_at": or_null(one_of("next_user_message", "never"))}}),
    "SystemContent": either(text(), a_list(either(TEXT, block("tool_addition", **TOOL_CHANGE), block("tool_removal", **TOOL_CHANGE)))),
    "ReadBlock": {
        "description": "What the model reads as text",
        "anyOf": [TEXT,
                  block("document", title_=text(), context_=text(), source=either(
                      block("text", data=text()), block("content", content=either(text(), a_list(ref("ReadBlock")))))),
                  block("search_result", title=text(), source=text(), content=a_list(ref("ReadBlock"))),
                  block("tool_reference", tool_name=text())]},
    "UserBlock": either(ref("ReadBlock"), block("tool_result", tool_use_id=text(), is_error_=flag(),
                                                content_=either(text(), a_list(ref("ReadBlock"))))),
    "AssistantBlock": either(TEXT, block("thinking", thinking=text(), signature_=text()), block("redacted_thinking"),
                             block("fallback"), block("tool_use", id=text(), name=text(1), input=any_object())),
    "MessageTool": either(
        {"type": "object", "required": ["name", "input_schema"], "properties": {
            "type": or_null(one_of("custom")), "name": text(1, 64, pattern=r"^[^\s\"'\\<>]+$"), "input_schema": any_object(),
            "description": or_null(text()), "defer_loading": or_null(flag()),
            "input_examples": or_null(a_list(any_object(), most=64))}},
        {"type": "object", "required": ["type"], "properties": {"type": text(pattern="^tool_search_tool")}}),
}

BLOCK = either(answer({"type": one_of("text"), "text": text()}),
               answer({"type": one_of("thinking"), "thinking": text(), "signature": text()}),
               answer({"type": one_of("tool_use"), "id": text(pattern="^toolu_"), "name": text(), "input": any_object()}))
USAGE = answer({"input_tokens": COUNT, "cache_creation_input_tokens": COUNT, "cache_read_input_tokens": COUNT,
                "output_tokens": COUNT, "output_tokens_details": answer({"thinking_tokens": COUNT})})
STOP = {"stop_reason": or_null(one_of("end_turn", "max_tokens", "stop_sequence", "tool_use", "model_context_window_exceeded")),
        "stop_sequence": or_null(text(1))}
DELTA = either(answer({"type": one_of("text_delta"), "text": text(1)}),
               answer({"type": one_of("thinking_delta"), "thinking": text(1)}),
               answer({"type": one_of("signature_delta"), "signature": text()}),
               answer({"type": one_of("input_json_delta"), "partial_json": text()}))

ANSWERS = {
    "MessageError": answer({
        "type": one_of("error"), "request_id": or_null(text(1)),
        "error": answer({"message": text(1), "type": one_of(
            "invalid_request_error", "authentication_error", "permission_error", "not_found_error", "request_too_large",
            "rate_limit_error", "api_error", "overloaded_error")}, {"details": answer({"error_code": text(1)})})}),
    "MessageAnswer": answer({
        "id": text(pattern="^msg_"), "type": one_of("message"), "role": one_of("assistant"), "model": text(1),
        "content": a_list(BLOCK), "usage": USAGE} | STOP),
    "MessageEvent": either(
        answer({"type": one_of("message_start"), "message": ref("MessageAnswer")}),
        answer({"type": one_of("content_block_start"), "index": COUNT, "content_block": BLOCK}),
        answer({"type": one_of("content_block_delta"), "index": COUNT, "delta": DELTA}),
        answer({"type": one_of("content_block_stop"), "index": COUNT}),
        answer({"type": one_of("message_delta"), "delta": answer(STOP), "usage": USAGE}),
        answer({"type": one_of("message_stop", "ping")}), ref("MessageError")),
    "CountedTokens": answer({"input_tokens": COUNT}),
}
