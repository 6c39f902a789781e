"""What the server answers, as JSON schemas."""

import messages
import responses
from shapes import a_list, answer, either, integer, number, one_of, or_null, ref, text

COUNT = integer(0)
BYTES = a_list(integer(0, 255))
TOKEN_IDS = a_list(integer(0))
FINISH = one_of("stop", "length", "tool_calls")
STOP_REASON = {"type": ["string", "integer", "null"], "description": "the stop text or token that ended the answer"}


def envelope(kind, prefix, choice):
    return answer({"id": text(pattern=f"^{prefix}-"), "object": one_of(kind), "created": integer(), "model": text(),
                   "system_fingerprint": text(), "choices": a_list(ref(choice)), "usage": ref("Usage")},
                  {"prompt_token_ids": TOKEN_IDS})


def chunk(whole, kind, choice):
    """An event of a stream: usage where it was asked for, and null but for the last."""
    properties = whole["properties"] | {"object": one_of(kind), "choices": a_list(ref(choice)), "usage": or_null(ref("Usage"))}
    return whole | {"properties": properties, "required": [name for name in whole["required"] if name != "usage"]}


CHAT = envelope("chat.completion", "chatcmpl", "ChatChoice")
COMPLETION = envelope("text_completion", "cmpl", "CompletionChoice")
LOGPROB = {"token": text(), "logprob": number(-9999, 0), "bytes": BYTES}
CALL = {"id": text(1), "type": one_of("function"), "function": answer({"name": text(), "arguments": text()})}
COMPLETION_CHOICE = {"index": COUNT, "text": text(), "logprobs": or_null(ref("CompletionLogprobs"))}

ANSWERS = {
    "Error": answer({"error": answer({
        "message": text(1), "type": one_of("invalid_request_error", "rate_limit_error", "server_error"),
        "param": or_null(text()), "code": or_null(text())})}),
    "Usage": answer({
        "prompt_tokens": COUNT, "completion_tokens": COUNT, "total_tokens": COUNT,
        "prompt_tokens_details": answer({"cached_tokens": COUNT}),
        "completion_tokens_details": answer({"reasoning_tokens": COUNT})}),
    "ChatCompletion": CHAT,
    "ChatCompletionChunk": chunk(CHAT, "chat.completion.chunk", "ChatChunkChoice"),
    "ChatChoice": answer({
        "index": COUNT,
        "message": answer(
            {"role": one_of("assistant"), "content": or_null(text()), "refusal": {"type": "null"}},
            {"reasoning_content": text(1), "reasoning": text(1), "tool_calls": a_list(answer(CALL), 1)}),
        "logprobs": or_null(ref("ChatLogprobs")), "finish_reason": FINISH, "stop_reason": STOP_REASON},
        {"token_ids": TOKEN_IDS}),
    "ChatChunkChoice": answer({
        "index": COUNT,
        "delta": answer({}, {"role": one_of("assistant"), "content": text(), "reasoning_content": text(1), "reasoning": text(1),
                             "tool_calls": a_list(answer({"index": COUNT} | CALL), 1, 1)}),
        "logprobs": or_null(ref("ChatLogprobs")), "finish_reason": or_null(FINISH)},
        {"stop_reason": STOP_REASON, "token_ids": TOKEN_IDS}),
    "ChatLogprobs": answer({"content": a_list(ref("ChatLogprob")), "refusal": {"type": "null"}},
                           {"reasoning_content": a_list(ref("ChatLogprob"))}),
    "ChatLogprob": answer(LOGPROB | {"top_logprobs": a_list(answer(LOGPROB), most=20)}),
    "Completion": COMPLETION,
    "CompletionChunk": chunk(COMPLETION, "text_completion", "CompletionChunkChoice"),
    "CompletionChoice": answer(COMPLETION_CHOICE | {"finish_reason": one_of("stop", "length"), "stop_reason": STOP_REASON},
                               {"token_ids": TOKEN_IDS, "prompt_token_ids": TOKEN_IDS}),
    "CompletionChunkChoice": answer(COMPLETION_CHOICE | {"finish_reason": or_null(one_of("stop", "length"))},
                                    {"stop_reason": STOP_REASON, "token_ids": TOKEN_IDS, "prompt_token_ids": TOKEN_IDS}),
    "CompletionLogprobs": answer({
        "tokens": a_list(text()), "token_logprobs": a_list(or_null(number(-9999, 0))),
        "top_logprobs": a_list(or_null({"type": "object", "additionalProperties": number(-9999, 0)})),
        "text_offset": a_list(COUNT)}),
    "Embeddings": answer({
        "object": one_of("list"), "model": text(1), "usage": answer({"prompt_tokens": COUNT, "total_tokens": COUNT}),
        "data": a_list(answer({"object": one_of("embedding"), "index": COUNT, "embedding": either(a_list(number(), 1), text(1))}), 1)}),
    **responses.ANSWERS,
    **messages.ANSWERS,
    "Model": answer({"id": text(1), "object": one_of("model"), "created": integer(), "owned_by": text(),
                     "max_model_len": integer(1), "type": one_of("model"), "display_name": text(1), "created_at": text(1),
                     "lifecycle": one_of("active"), "max_input_tokens": integer(1), "max_tokens": integer(1)}),
    "Models": answer({"object": one_of("list"), "data": a_list(ref("Model"), 1), "has_more": one_of(False),
                      "first_id": text(1), "last_id": text(1)}),
    "Tokens": answer({"count": COUNT, "max_model_len": integer(1),
                      "tokens": either(TOKEN_IDS, a_list(answer({"id": COUNT, "piece": either(text(), BYTES)})))},
                     {"token_strs": a_list(text())}),
    "Text": answer({"prompt": text(), "content": text()}),
    "Health": answer({"status": one_of("ok")}),
    "NotReady": answer({"status": one_of("loading model", "draining")},
                       {"progress": answer({"what": text(), "done": COUNT, "total": COUNT}, {"share": number(0)})}),
}
