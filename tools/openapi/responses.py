"""/v1/responses: what its fields take, and what it answers."""

from shapes import a_list, answer, any_object, asked, either, flag, integer, number, one_of, or_null, ref, text

COUNT = integer(0)
STATUS = one_of("in_progress", "completed", "incomplete")
EFFORTS = ("none", "minimal", "low", "medium", "high", "xhigh", "max")
SUMMARY = one_of("auto", "concise", "detailed")

TYPES = {
    "input": either(text(), a_list(ref("InputItem"), 1)),
    "instructions": text(), "previous_response_id": text(), "store": flag(), "max_output_tokens": integer(1, 2**31 - 1),
    "top_logprobs": integer(0, 20), "tool_choice": one_of("none", "auto"), "max_tool_calls": integer(1, 2**31 - 1),
    "include": a_list(one_of(
        "reasoning.encrypted_content", "message.output_text.logprobs", "file_search_call.results", "web_search_call.results",
        "web_search_call.action.sources", "message.input_image.image_url", "computer_call_output.output.image_url",
        "code_interpreter_call.outputs"), most=64),
    "tools": a_list(ref("ResponseTool"), most=128),
    "reasoning": asked({}, {"effort": one_of(*EFFORTS), "summary": SUMMARY, "generate_summary": SUMMARY,
                            "context": one_of("auto"), "mode": one_of("standard")}),
    "text": asked({}, {"format": {"type": "object", "required": ["type"], "properties": {"type": one_of("text")}},
                       "verbosity": one_of("low", "medium", "high")}),
    "metadata": {"type": "object", "maxProperties": 16, "propertyNames": {"maxLength": 64},
                 "additionalProperties": text(most=512)},
    "stream_options": asked({}, {"include_obfuscation": flag()}),
    "client_metadata": any_object(), "image": any_object(), "prompt_cache_options": any_object(),
}


def member(kind, **properties):
    """An object of a request with further members, which say nothing more."""
    optional = properties.pop("optional", {})
    return {"type": "object", "required": ["type", *properties],
            "properties": {"type": one_of(*kind) if isinstance(kind, tuple) else one_of(kind)} | properties | optional}


TEXT_PART = either(member(("input_text", "output_text", "text"), text=text()), member("refusal", refusal=text()))
TEXTS = either(text(), a_list(TEXT_PART))
CALL_ID = {"call_id": text(), "name": text(1)}
ANY_TEXTS = a_list({"type": "object", "required": ["text"], "properties": {"text": text()}})

PARTS = {
    "InputItem": {
        "description": "Without a type it is a message, or where it has nothing but an id, a reference",
        "anyOf": [
            {"type": "object", "required": ["role", "content"], "properties": {
                "type": or_null(one_of("message")), "role": one_of("system", "developer", "user", "assistant"), "content": TEXTS}},
            member("reasoning", optional={"summary": or_null(ANY_TEXTS), "content": or_null(ANY_TEXTS),
                                          "encrypted_content": or_null(text())}),
            member("function_call", arguments=either(text(), any_object()), optional={"namespace": or_null(text())}, **CALL_ID),
            member("custom_tool_call", input=text(), optional={"namespace": or_null(text())}, **CALL_ID),
            member(("function_call_output", "custom_tool_call_output"), output=TEXTS, optional={"call_id": or_null(text())}),
            member("web_search_call"),
            {"type": "object", "required": ["id"], "properties": {"id": text(), "type": or_null(one_of("item_reference"))}}]},
    "ResponseTool": {
        "description": "Tools of other types than the first three run elsewhere and are passed over",
        "anyOf": [ref("ResponseFunction"), ref("ResponseCustom"),
                  member("namespace", name=text(1), tools=a_list(either(ref("ResponseFunction"), ref("ResponseCustom")), most=128),
                         optional={"description": or_null(text())}),
                  {"type": "object", "required": ["type"], "properties": {"type": {
                      "pattern": "^(web_search.*|file_search|computer|computer_use|computer_use_preview|mcp|code_interpreter|"
                                 "image_generation|programmatic_tool_calling|local_shell|shell|tool_search|apply_patch)$"}}}]},
    "ResponseFunction": member("function", name=text(1, 64, pattern=r"^[^\s\"'\\<>]+$"), optional={
        "description": or_null(text()), "parameters": or_null(any_object()), "strict": or_null(flag())}),
    "ResponseCustom": member("custom", name=text(1, 64, pattern=r"^[^\s\"'\\<>]+$"), optional={
        "description": or_null(text()),
        "format": or_null(either(member("text"), member("grammar", syntax=text(), definition=text())))}),
}

MESSAGE_PART = answer({"type": one_of("output_text"), "text": text(), "annotations": a_list({}, most=0),
                       "logprobs": a_list(ref("ChatLogprob"))})
REASONING_PART = answer({"type": one_of("reasoning_text"), "text": text()})
ITEM = {"id": text(1), "status": STATUS}
CALL = ITEM | {"call_id": text(1), "name": text()}
EVENT = {"sequence_number": COUNT}
PLACE = EVENT | {"item_id": text(1), "output_index": COUNT}
IN_PART = PLACE | {"content_index": COUNT}


def item_call(kind, content):
    return answer(CALL | {"type": one_of(kind), content: text()}, {"namespace": text(1)})


def events(kinds, fields, optional=None):
    return answer({"type": one_of(*kinds)} | fields, optional)


ANSWERS = {
    "Response": answer({
        "id": text(pattern="^resp_"), "object": one_of("response"), "created_at": integer(),
        "status": one_of("in_progress", "completed", "incomplete", "failed"), "background": one_of(False),
        "completed_at": or_null(integer()), "error": or_null(answer({"code": text(1), "message": text()})),
        "incomplete_details": or_null(answer({"reason": one_of("max_output_tokens")})), "instructions": or_null(text()),
        "max_output_tokens": or_null(integer(1)), "max_tool_calls": or_null(integer(1)), "model": text(1),
        "output": a_list(ref("OutputItem")), "parallel_tool_calls": flag(), "previous_response_id": or_null(text(1)),
        "prompt_cache_key": or_null(text()), "reasoning": answer({"effort": or_null(one_of(*EFFORTS)), "summary": or_null(SUMMARY)}),
        "safety_identifier": or_null(text()), "service_tier": one_of("default"), "store": flag(),
        "temperature": number(0), "text": any_object(), "tool_choice": one_of("auto", "none"), "tools": a_list(any_object()),
        "top_logprobs": integer(0, 20), "top_p": number(0, 1), "presence_penalty": number(), "frequency_penalty": number(),
        "truncation": one_of("disabled"), "usage": or_null(ref("ResponseUsage")), "user": or_null(text()),
        "metadata": any_object()}),
    "ResponseUsage": answer({
        "input_tokens": COUNT, "input_tokens_details": answer({"cached_tokens": COUNT, "cache_write_tokens": COUNT}),
        "output_tokens": COUNT, "output_tokens_details": answer({"reasoning_tokens": COUNT}), "total_tokens": COUNT}),
    "OutputItem": either(
        answer(ITEM | {"type": one_of("message"), "role": one_of("assistant"), "content": a_list(MESSAGE_PART, most=1)}),
        answer(ITEM | {"type": one_of("reasoning"), "summary": a_list({}, most=0), "content": a_list(REASONING_PART, most=1)},
               {"encrypted_content": text(1)}),
        item_call("function_call", "arguments"), item_call("custom_tool_call", "input")),
    "ResponseEvent": either(
        events([f"response.{state}" for state in ("created", "in_progress", "completed", "incomplete", "failed")],
               EVENT | {"response": ref("Response")}),
        events(["response.output_item.added", "response.output_item.done"],
               EVENT | {"output_index": COUNT, "item": ref("OutputItem")}),
        events(["response.content_part.added", "response.content_part.done"],
               IN_PART | {"part": either(MESSAGE_PART, REASONING_PART)}),
        events(["response.output_text.delta"], IN_PART | {"delta": text(), "logprobs": a_list(ref("ChatLogprob"))}),
        events(["response.output_text.done"], IN_PART | {"text": text(), "logprobs": a_list(ref("ChatLogprob"))}),
        events(["response.reasoning_text.delta"], IN_PART | {"delta": text()}),
        events(["response.reasoning_text.done"], IN_PART | {"text": text()}),
        events(["response.function_call_arguments.delta", "response.custom_tool_call_input.delta"], PLACE | {"delta": text()}),
        events(["response.function_call_arguments.done"], PLACE | {"name": text(), "arguments": text()}),
        events(["response.custom_tool_call_input.done"], PLACE | {"name": text(), "input": text()}),
        events(["error"], EVENT | {"code": or_null(text()), "message": text(1), "param": or_null(text()), "error": any_object()})),
    "InputTokens": answer({"object": one_of("response.input_tokens"), "input_tokens": COUNT}),
    "ResponseDeleted": answer({"id": text(1), "object": one_of("response"), "deleted": one_of(True)}),
    "InputItems": answer({"object": one_of("list"), "first_id": or_null(text(1)), "last_id": or_null(text(1)), "has_more": flag(),
                          "data": a_list(any_object(), most=100)}),
}
