"""What the three dialects call the same things, in the requests that agents send and in streamed answers."""

import dataclasses

from proxy import Exchange


@dataclasses.dataclass
class Usage:
    prompt: int
    cached: int


def path(exchange: Exchange) -> str:
    return exchange.path.split("?")[0]


def limited(exchange: Exchange, tokens: int) -> dict:
    """Its body, with an answer of at most so many tokens."""
    body = dict(exchange.body)
    body["max_output_tokens" if path(exchange) == "/v1/responses" else "max_tokens"] = tokens
    if "budget_tokens" in body.get("thinking", {}):
        body["thinking"] = {**body["thinking"], "budget_tokens": 1024}
    return body


def usage(events: list[dict]) -> Usage | None:
    """What a stream says that its prompt took."""
    for event in reversed(events):
        if event.get("type") == "response.completed" or event.get("type") == "response.incomplete":
            told = event["response"]["usage"]
            return Usage(told["input_tokens"], told["input_tokens_details"]["cached_tokens"])
        if event.get("type") == "message_start":
            told = event["message"]["usage"]
            cached = told.get("cache_read_input_tokens") or 0
            return Usage(told["input_tokens"] + cached + (told.get("cache_creation_input_tokens") or 0), cached)
        if event.get("usage") and "prompt_tokens" in event["usage"]:
            return Usage(event["usage"]["prompt_tokens"], event["usage"]["prompt_tokens_details"]["cached_tokens"])
    return None


def says_something(event: dict) -> bool:
    """Whether it has a token of the answer, not only its frame."""
    if event.get("choices"):
        return any(event["choices"][0]["delta"].get(key) for key in ("content", "reasoning_content", "tool_calls"))
    return event.get("type", "").endswith(".delta") or event.get("type") == "content_block_delta"


def ended_well(exchange: Exchange) -> bool:
    """Whether a stream has its dialect's last event."""
    if path(exchange).endswith("/chat/completions"):
        return exchange.answer.rstrip().endswith("data: [DONE]")
    last = [event.get("type", "") for _, event in exchange.events()][-1:]
    return last in (["response.completed"], ["response.incomplete"], ["message_stop"])
