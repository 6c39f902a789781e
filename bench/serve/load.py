#!/usr/bin/env python3
"""Clients of a server that speaks OpenAI's chat completions (or completions): how many tokens come, and how soon.

Each client keeps one connection and asks one request after the other, streamed, at temperature 0. What is reported was
seen by the clients: tokens by the server's usage, times by this machine's clock. An answer that breaks off, is empty or
comes without usage is a failure, and failures end the run. Standard library only, so that the clients take little of
the machine that they measure.
"""
import argparse
import asyncio
import json
import random
import statistics
import time
import urllib.request
from urllib.parse import urlparse

WORDS = ("time year people way day man thing woman life child world school state family student group country problem "
         "hand part place case week company system program question work government number night point home water room "
         "mother area money story fact month lot right study book eye job word business issue side kind head house "
         "service friend father power hour game line end member law car city community name president team minute idea").split()


def prompt(words, seed):
    """A text of so many words that no other seed has."""
    rng = random.Random(seed)
    return f"List {seed}: " + " ".join(rng.choice(WORDS) for _ in range(words)) + ". What is this list about?"


class Failure(Exception):
    pass


class Client:
    def __init__(self, url, key=None):
        self.url, self.key = urlparse(url), key
        self.reader = self.writer = None

    async def ask(self, body):
        """One streamed answer -> {first: seconds, gaps: seconds between pieces of text, tokens, cached, text}."""
        if self.writer is None:
            self.reader, self.writer = await asyncio.open_connection(self.url.hostname, self.url.port)
        payload = json.dumps(body).encode()
        endpoint = "chat/completions" if "messages" in body else "completions"
        head = (f"POST {self.url.path}/{endpoint} HTTP/1.1\r\nHost: {self.url.netloc}\r\n"
                f"Content-Type: application/json\r\nContent-Length: {len(payload)}\r\n"
                + (f"Authorization: Bearer {self.key}\r\n" if self.key else "") + "\r\n")
        start = last = time.perf_counter()
        self.writer.write(head.encode() + payload)
        line = await self.reader.readline()
        if not line:  # servers close connections that were idle
            self.reader, self.writer = await asyncio.open_connection(self.url.hostname, self.url.port)
            self.writer.write(head.encode() + payload)
            line = await self.reader.readline()
        status = int(line.split()[1])
        headers = {}
        while (line := await self.reader.readline()).strip():
            name, _, value = line.decode().partition(":")
            headers[name.lower()] = value.strip()
        if status != 200:
            raise Failure(f"status {status}: {(await self.reader.read(2000)).decode()}")
        first, gaps, usage, finish, text = None, [], None, None, ""
        async for event in self.events(headers):
            for choice in event.get("choices", []):
                delta = choice.get("delta", {})
                piece = (delta.get("content") or "") + (delta.get("reasoning_content") or "") + (choice.get("text") or "")
                finish = choice.get("finish_reason") or finish
                if piece:
                    now = time.perf_counter()
                    if first is None:
                        first = now - start
                    else:
                        gaps.append(now - last)
                    last, text = now, text + piece
            usage = event.get("usage") or usage
        if first is None or usage is None or finish is None:
            raise Failure(f"an answer without text, usage or end: {text!r} {usage} {finish}")
        cached = (usage.get("prompt_tokens_details") or {}).get("cached_tokens", 0)
        return {"first": first, "gaps": gaps, "tokens": usage["completion_tokens"], "prompt": usage["prompt_tokens"],
                "cached": cached, "text": text, "seconds": time.perf_counter() - start}

    async def events(self, headers):
        held = b""
        async for part in self.parts(headers):
            held += part
            while (end := held.find(b"\n\n")) >= 0:
                event, held = held[:end], held[end + 2:]
                for line in event.split(b"\n"):
                    if line.startswith(b"data: ") and line != b"data: [DONE]":
                        yield json.loads(line[6:])

    async def parts(self, headers):
        if headers.get("transfer-encoding", "").lower() != "chunked":
            while part := await self.reader.read(65536):
                yield part
            self.writer = None
            return
        while size := int(await self.reader.readline(), 16):
            yield await self.reader.readexactly(size)
            await self.reader.readline()
        await self.reader.readline()
        if headers.get("connection", "").lower() == "close":
            self.writer = None


def asked(text, raw):
    """The members of a body that say what is asked: a chat's first message, or a text to go on with."""
    return {"prompt": text} if raw else {"messages": [{"role": "user", "content": text}]}


def model_of(url, key=None):
    """What the server calls its model."""
    request = urllib.request.Request(url + "/models", headers={"Authorization": f"Bearer {key}"} if key else {})
    with urllib.request.urlopen(request, timeout=30) as answer:
        return json.load(answer)["data"][0]["id"]


async def run(url, clients, requests, words, tokens, seed, key=None, ignore_eos=True, raw=False):
    """clients × requests answers, all clients at once -> figures of them all, and each answer by its prompt's seed."""
    answers = {}
    model = model_of(url, key)

    async def one(index):
        client = Client(url, key)
        for r in range(requests):
            number = seed + index * requests + r
            body = {"model": model, "stream": True, **asked(prompt(words, number), raw),
                    "stream_options": {"include_usage": True}, "temperature": 0, "max_tokens": tokens}
            if ignore_eos:
                body["ignore_eos"] = True
            answers[number] = await client.ask(body)

    start = time.perf_counter()
    await asyncio.gather(*(one(i) for i in range(clients)))
    return figures(list(answers.values()), time.perf_counter() - start), answers


def figures(answers, seconds):
    firsts = sorted(a["first"] for a in answers)
    gaps = sorted(g for a in answers for g in a["gaps"])
    at = lambda values, share: values[min(len(values) - 1, int(share * len(values)))] if values else 0.0
    return {"answers": len(answers), "seconds": seconds, "tokens": sum(a["tokens"] for a in answers),
            "tokens_per_s": sum(a["tokens"] for a in answers) / seconds,
            "prompt_tokens": statistics.median(a["prompt"] for a in answers),
            "cached_tokens": statistics.median(a["cached"] for a in answers),
            "first_median_s": at(firsts, 0.5), "first_p95_s": at(firsts, 0.95),
            "gap_median_s": at(gaps, 0.5), "gap_p99_s": at(gaps, 0.99), "gap_max_s": gaps[-1] if gaps else 0.0}


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("url", help="http://127.0.0.1:8080/v1")
    parser.add_argument("--clients", type=int, default=16)
    parser.add_argument("--requests", type=int, default=2, help="of each client, one after the other")
    parser.add_argument("--words", type=int, default=200, help="of each prompt")
    parser.add_argument("--tokens", type=int, default=64, help="of each answer")
    parser.add_argument("--seed", type=int, default=1, help="other seeds, other prompts")
    parser.add_argument("--raw", action="store_true", help="complete texts: for models without a chat template")
    parser.add_argument("--key")
    o = parser.parse_args()
    result, _ = asyncio.run(run(o.url, o.clients, o.requests, o.words, o.tokens, o.seed, o.key, raw=o.raw))
    print(json.dumps(result))


if __name__ == "__main__":
    main()
