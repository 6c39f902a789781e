"""OpenAI's client for Python against the scripted server, and against `cachalot serve`."""

import json
import struct
import time
import unittest
import urllib.request

import openai

import servers


def client_of(address, key=servers.KEY):
    return openai.OpenAI(base_url=address + "/v1", api_key=key, max_retries=0, timeout=60)


def user(text):
    return [{"role": "user", "content": text}]


def as_f32(numbers):
    return list(struct.unpack(f"<{len(numbers)}f", struct.pack(f"<{len(numbers)}f", *numbers)))


class Scripted(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.address = cls.enterClassContext(servers.scripted())
        cls.client = client_of(cls.address)

    def running(self):
        request = urllib.request.Request(self.address + "/running", headers={"x-api-key": servers.KEY})
        return int(urllib.request.urlopen(request).read())

    def assert_nothing_runs(self):
        until = time.monotonic() + 5
        while self.running() and time.monotonic() < until:
            time.sleep(0.01)
        self.assertEqual(self.running(), 0)

    def chat(self, text, **more):
        return self.client.chat.completions.create(model="scripted", messages=user(text), **more)

    def test_chat(self):
        answer = self.chat("say Grüß Gott 你好 🐳")
        choice = answer.choices[0]
        self.assertEqual(choice.message.content, "Grüß Gott 你好 🐳")
        self.assertEqual(choice.message.role, "assistant")
        self.assertEqual(choice.finish_reason, "stop")
        self.assertEqual(answer.object, "chat.completion")
        self.assertEqual(answer.usage.total_tokens, answer.usage.prompt_tokens + answer.usage.completion_tokens)
        self.assertEqual(answer.usage.prompt_tokens_details.cached_tokens, 0)
        self.assertEqual(answer.usage.completion_tokens_details.reasoning_tokens, 0)

    def test_reasoning(self):
        message = self.chat("reason Yes").choices[0].message
        self.assertEqual(message.content, "Yes")
        self.assertEqual(message.reasoning_content, "Hm, so.")
        self.assertEqual(message.reasoning, "Hm, so.")

    def test_streaming(self):
        text, reasoning, ends, usage = "", "", [], None
        stream = self.chat("reason one 🐳 two", stream=True, stream_options={"include_usage": True})
        for chunk in stream:
            usage = chunk.usage or usage
            for choice in chunk.choices:
                text += choice.delta.content or ""
                reasoning += getattr(choice.delta, "reasoning_content", None) or ""
                if choice.finish_reason:
                    ends.append(choice.finish_reason)
        self.assertEqual((text, reasoning, ends), ("one 🐳 two", "Hm, so.", ["stop"]))
        self.assertGreater(usage.completion_tokens_details.reasoning_tokens, 0)

    def test_stream_helper(self):
        with self.client.chat.completions.stream(model="scripted", messages=user("say a helper")) as stream:
            kinds = {event.type for event in stream}
            final = stream.get_final_completion()
        self.assertIn("content.delta", kinds)
        self.assertEqual(final.choices[0].message.content, "a helper")

    def test_several_answers(self):
        answer = self.chat("say number {n}", n=3)
        self.assertEqual([c.message.content for c in answer.choices], ["number 0", "number 1", "number 2"])
        texts = ["", "", ""]
        for chunk in self.chat("say number {n}", n=3, stream=True):
            for choice in chunk.choices:
                texts[choice.index] += choice.delta.content or ""
        self.assertEqual(texts, ["number 0", "number 1", "number 2"])

    def test_stop(self):
        choice = self.chat("say one two three", stop=["two"]).choices[0]
        self.assertEqual((choice.message.content, choice.finish_reason), ("one ", "stop"))
        self.assertEqual(self.chat("say one two three", max_completion_tokens=1).choices[0].finish_reason, "length")

    def test_logprobs(self):
        choice = self.chat("say a 🐳", logprobs=True, top_logprobs=2).choices[0]
        said = b"".join(bytes(entry.bytes) for entry in choice.logprobs.content)
        self.assertEqual(said.decode(), choice.message.content)
        for entry in choice.logprobs.content:
            self.assertLessEqual(entry.logprob, 0)
            self.assertEqual(len(entry.top_logprobs), 2)

    def test_completions(self):
        answer = self.client.completions.create(
            model="scripted", prompt=["say one", "say two"], echo=True, logprobs=1, max_tokens=50
        )
        self.assertEqual([c.text for c in answer.choices], ["say oneone", "say twotwo"])
        for choice in answer.choices:
            logprobs = choice.logprobs
            self.assertIsNone(logprobs.token_logprobs[0])
            self.assertEqual(len(logprobs.tokens), len(logprobs.top_logprobs))
            for token, offset in zip(logprobs.tokens[:-1], logprobs.text_offset):  # the last one ended the answer
                self.assertTrue(choice.text[offset:].startswith(token), (token, offset))
        text = ""
        for chunk in self.client.completions.create(model="scripted", prompt="say streamed", stream=True):
            text += chunk.choices[0].text
        self.assertEqual(text, "streamed")

    CALLS = [
        {"name": "weather", "arguments": {"city": "Köln \"am\" Rhein </tool_call>", "days": [1, 2.5, None]}},
        {"name": "time", "arguments": {}},
    ]
    TOOLS = [
        {"type": "function", "function": {"name": "weather", "parameters": {
            "type": "object", "properties": {"city": {"type": "string"}, "days": {"type": "array"}}}}},
        {"type": "function", "function": {"name": "time", "parameters": {"type": "object", "properties": {}}}},
    ]

    def assert_called(self, calls):
        self.assertEqual([(c.type, c.function.name, json.loads(c.function.arguments)) for c in calls],
                         [("function", c["name"], c["arguments"]) for c in self.CALLS])
        self.assertEqual(len({c.id for c in calls}), len(calls))

    def test_embeddings(self):
        texts = ["one", "two 你好", "one"]
        embed = lambda **more: self.client.embeddings.create(model="scripted", input=texts, **more)
        packed, numbers = embed(), embed(encoding_format="float")  # the client asks for base64 by itself, and unpacks it
        self.assertEqual([one.index for one in packed.data], [0, 1, 2])
        self.assertEqual([list(one.embedding) for one in packed.data], [as_f32(one.embedding) for one in numbers.data])
        self.assertEqual(packed.data[0].embedding, packed.data[2].embedding)
        self.assertNotEqual(packed.data[0].embedding, packed.data[1].embedding)
        self.assertEqual(packed.object, "list")
        self.assertEqual(packed.usage.total_tokens, packed.usage.prompt_tokens)
        for dimensions in (8, 3):
            for one in embed(dimensions=dimensions).data:
                self.assertEqual(len(one.embedding), dimensions)
                self.assertAlmostEqual(sum(x * x for x in one.embedding), 1, places=5)
        with self.assertRaises(openai.BadRequestError) as refused:
            embed(dimensions=9)
        self.assertEqual(refused.exception.param, "dimensions")

    def test_calls_and_their_results(self):
        order = "calls " + json.dumps(self.CALLS)
        choice = self.chat(order, tools=self.TOOLS).choices[0]
        self.assertEqual((choice.finish_reason, choice.message.content), ("tool_calls", "Let me look."))
        self.assert_called(choice.message.tool_calls)
        messages = user(order) + [choice.message.to_dict()]
        for call, result in zip(choice.message.tool_calls, ("sunny", "noon")):
            messages.append({"role": "tool", "tool_call_id": call.id, "content": result})
        then = self.client.chat.completions.create(model="scripted", messages=messages, tools=self.TOOLS)
        self.assertEqual(then.choices[0].message.content, "It says sunny and noon")
        self.assertEqual(then.choices[0].finish_reason, "stop")
        self.assertIsNone(then.choices[0].message.tool_calls)

    def test_one_call(self):
        message = self.chat("calls " + json.dumps(self.CALLS), tools=self.TOOLS, parallel_tool_calls=False)
        self.assertEqual([c.function.name for c in message.choices[0].message.tool_calls], ["weather"])
        self.assertEqual(message.choices[0].finish_reason, "tool_calls")

    def test_streamed_calls(self):
        with self.client.chat.completions.stream(
            model="scripted", messages=user("calls " + json.dumps(self.CALLS)), tools=self.TOOLS
        ) as stream:
            done = [e.name for e in stream if e.type == "tool_calls.function.arguments.done"]
            choice = stream.get_final_completion().choices[0]
        self.assertEqual(done, ["weather", "time"])
        self.assertEqual((choice.finish_reason, choice.message.content), ("tool_calls", "Let me look."))
        self.assert_called(choice.message.tool_calls)

    def test_calls_are_text_without_tools(self):
        message = self.chat("calls " + json.dumps(self.CALLS)).choices[0].message
        self.assertIsNone(message.tool_calls)
        self.assertIn("<tool_call>", message.content)

    def test_models(self):
        self.assertEqual([m.id for m in self.client.models.list()], ["scripted"])
        self.assertEqual(self.client.models.retrieve("scripted").owned_by, "cachalot")
        with self.assertRaises(openai.NotFoundError):
            self.client.models.retrieve("another")

    def test_errors(self):
        with self.assertRaises(openai.AuthenticationError) as raised:
            client_of(self.address, key="wrong").models.list()
        self.assertEqual(raised.exception.code, "invalid_api_key")
        with self.assertRaises(openai.NotFoundError) as raised:
            self.client.chat.completions.create(model="another", messages=user("say x"))
        self.assertEqual(raised.exception.code, "model_not_found")
        with self.assertRaises(openai.BadRequestError) as raised:
            self.chat("say x", temperature=-1)
        self.assertEqual(raised.exception.param, "temperature")
        with self.assertRaises(openai.BadRequestError) as raised:
            self.chat("say x", response_format={"type": "json_object"})
        self.assertEqual(raised.exception.param, "response_format")
        with self.assertRaises(openai.BadRequestError) as raised:
            self.chat("word " * 5000)
        self.assertEqual(raised.exception.code, "context_length_exceeded")
        with self.assertRaises(openai.InternalServerError):
            self.chat("fail")

    def test_error_in_a_stream(self):
        text = ""
        with self.assertRaises(openai.APIError) as raised:
            for chunk in self.chat("fail", stream=True):
                text += chunk.choices[0].delta.content or ""
        self.assertEqual(text, "so far")
        self.assertIn("the script says", str(raised.exception))

    def test_patience(self):
        started = time.monotonic()
        self.assertEqual(self.chat("wait 12", stream=False).choices[0].message.content, "at last")
        self.assertGreater(time.monotonic() - started, 10)

    def test_cancellation(self):
        stream = self.chat("endless", stream=True)
        for number, _ in enumerate(stream):
            if number == 5:
                break
        self.assertEqual(self.running(), 1)
        stream.close()
        self.assert_nothing_runs()
        with self.assertRaises(openai.APITimeoutError):
            self.client.with_options(timeout=1).chat.completions.create(model="scripted", messages=user("endless"))
        self.assert_nothing_runs()


class Responses(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.address = cls.enterClassContext(servers.scripted())
        cls.client = client_of(cls.address)

    def respond(self, said, **more):
        return self.client.responses.create(model="scripted", input=said, **more)

    def stream(self, text, **more):
        """The types of a stream's events, in order, and its last response as the client has put it together."""
        with self.client.responses.stream(model="scripted", input=text, **more) as stream:
            types = [event.type for event in stream]
            return types, stream.get_final_response()

    TOOLS = [{**tool["function"], "type": "function", "strict": False} for tool in Scripted.TOOLS]
    ORDER = "calls " + json.dumps(Scripted.CALLS)

    def assert_called(self, response):
        kinds = [item.type for item in response.output]
        self.assertEqual(kinds, ["message", "function_call", "function_call"])
        calls = response.output[1:]
        self.assertEqual([(c.name, json.loads(c.arguments)) for c in calls],
                         [(c["name"], c["arguments"]) for c in Scripted.CALLS])
        self.assertEqual(len({i for c in calls for i in (c.id, c.call_id)}), 4)
        self.assertEqual(response.status, "completed")

    def test_text_and_reasoning(self):
        for response in (self.respond("reason Grüß Gott 🐳"), self.stream("reason Grüß Gott 🐳")[1]):
            self.assertEqual(response.output_text, "Grüß Gott 🐳")
            self.assertEqual([c.text for c in response.output[0].content], ["Hm, so."])
            self.assertEqual((response.status, response.object, response.error), ("completed", "response", None))
            self.assertGreater(response.usage.output_tokens_details.reasoning_tokens, 0)
            self.assertEqual(response.usage.total_tokens, response.usage.input_tokens + response.usage.output_tokens)

    def test_events(self):
        deltas = {"reasoning": "", "text": ""}
        numbers = []
        for event in self.respond("reason one 🐳 two", stream=True):
            numbers.append(event.sequence_number)
            if event.type == "response.reasoning_text.delta":
                deltas["reasoning"] += event.delta
            if event.type == "response.output_text.delta":
                deltas["text"] += event.delta
        self.assertEqual(deltas, {"reasoning": "Hm, so.", "text": "one 🐳 two"})
        self.assertEqual(numbers, list(range(len(numbers))))
        self.assertEqual(event.type, "response.completed")

    def test_every_field_is_of_its_type(self):
        for response in (self.respond("reason Yes", tools=self.TOOLS), self.respond(self.ORDER, tools=self.TOOLS)):
            type(response).model_validate(response.to_dict(), strict=True)

    def test_calls_and_their_results(self):
        first = self.respond(self.ORDER, tools=self.TOOLS)
        self.assert_called(first)
        results = [{"type": "function_call_output", "call_id": c.call_id, "output": said}
                   for c, said in zip(first.output[1:], ("sunny", "noon"))]
        said = [{"role": "user", "content": self.ORDER}] + [item.to_dict() for item in first.output]
        self.assertEqual(self.respond(said + results, tools=self.TOOLS).output_text, "It says sunny and noon")
        then = self.respond(results, tools=self.TOOLS, previous_response_id=first.id)
        self.assertEqual(then.output_text, "It says sunny and noon")
        self.assertEqual(then.previous_response_id, first.id)

    def test_streamed_calls(self):
        types, response = self.stream(self.ORDER, tools=self.TOOLS)
        self.assertEqual(types.count("response.function_call_arguments.done"), 2)
        self.assert_called(response)

    def test_custom_tools(self):
        order = "calls " + json.dumps([{"name": "patch", "arguments": {"input": "a\nb"}}])
        tools = [{"type": "custom", "name": "patch"}, {"type": "web_search"}]
        for response in (self.respond(order, tools=tools), self.stream(order, tools=tools)[1]):
            call = response.output[-1]
            self.assertEqual((call.type, call.name, call.input), ("custom_tool_call", "patch", "a\nb"))

    def test_counting(self):
        counted = self.client.responses.input_tokens.count(model="scripted", input="say x", tools=self.TOOLS)
        self.assertEqual(counted.input_tokens, self.respond("say x", tools=self.TOOLS).usage.input_tokens)

    def test_incomplete(self):
        response = self.respond("say one two three", max_output_tokens=1)
        self.assertEqual((response.status, response.incomplete_details.reason), ("incomplete", "max_output_tokens"))
        self.assertEqual(response.output[0].status, "incomplete")

    def test_logprobs(self):
        part = self.respond("say a 🐳", include=["message.output_text.logprobs"], top_logprobs=2).output[0].content[0]
        self.assertEqual(b"".join(bytes(entry.bytes) for entry in part.logprobs).decode(), part.text)
        self.assertEqual({len(entry.top_logprobs) for entry in part.logprobs}, {2})

    def test_what_is_kept(self):
        first = self.respond([{"role": "user", "content": "say one"}], metadata={"a": "b"})
        self.assertEqual(self.client.responses.retrieve(first.id), first)
        items = self.client.responses.input_items.list(first.id, order="asc").data
        self.assertEqual([(i.type, i.role, i.content[0].text) for i in items], [("message", "user", "say one")])
        with self.assertRaises(openai.BadRequestError):
            self.client.responses.cancel(first.id)
        self.client.responses.delete(first.id)
        for ask in (self.client.responses.retrieve, self.client.responses.delete, self.client.responses.cancel):
            with self.assertRaises(openai.NotFoundError):
                ask(first.id)
        with self.assertRaises(openai.BadRequestError) as raised:
            self.respond("say two", previous_response_id=first.id)
        self.assertEqual(raised.exception.code, "previous_response_not_found")
        with self.assertRaises(openai.NotFoundError):
            self.client.responses.retrieve(self.respond("say three", store=False).id)

    def test_errors(self):
        for field, value in (("temperature", -1), ("text", {"format": {"type": "json_object"}}), ("background", True),
                             ("conversation", "conv_1"), ("tool_choice", "required"), ("truncation", "auto")):
            with self.assertRaises(openai.BadRequestError) as raised:
                self.respond("say x", **{field: value})
            self.assertTrue(raised.exception.param.startswith(field), raised.exception.param)
        with self.assertRaises(openai.BadRequestError) as raised:
            self.respond([{"role": "user", "content": [{"type": "input_image", "image_url": "data:"}]}])
        self.assertEqual(raised.exception.param, "input[0].content[0].type")
        with self.assertRaises(openai.BadRequestError) as raised:
            self.respond("word " * 5000)
        self.assertEqual(raised.exception.code, "context_length_exceeded")
        text = ""
        with self.assertRaises(openai.APIError) as raised:
            for event in self.respond("fail", stream=True):
                text += event.delta if event.type == "response.output_text.delta" else ""
        self.assertEqual(text, "so far")
        self.assertIn("the script says", str(raised.exception))


class Cachalot:
    """What must hold on every model; its answers are its own."""

    model = None

    @classmethod
    def setUpClass(cls):
        address = cls.enterClassContext(servers.cachalot(cls.model, "--context", "1024"))
        cls.client = client_of(address)
        cls.name = cls.client.models.list().data[0].id

    def chat(self, **more):
        more.setdefault("temperature", 0)
        more.setdefault("max_tokens", 40)
        return self.client.chat.completions.create(model=self.name, messages=user("What is 47 + 86?"), **more)

    def test_streaming_says_what_is_said_at_once(self):
        message = self.chat().choices[0].message
        text = reasoning = ""
        for chunk in self.chat(stream=True):
            for choice in chunk.choices:
                text += choice.delta.content or ""
                reasoning += getattr(choice.delta, "reasoning_content", None) or ""
        self.assertEqual(text, message.content)
        self.assertEqual(reasoning, getattr(message, "reasoning_content", None) or "")

    def test_responses_go_on_from_what_is_cached(self):
        def respond(text, **more):
            return self.client.responses.create(
                model=self.name, input=text, temperature=0, max_output_tokens=40, **more
            )

        first = respond("What is 47 + 86?")
        text = ""
        for event in respond("What is 47 + 86?", stream=True):
            text += event.delta if event.type == "response.output_text.delta" else ""
        self.assertEqual(text, first.output_text)
        second = respond("And 1 more?", previous_response_id=first.id)
        self.assertGreater(second.usage.input_tokens, first.usage.input_tokens)
        self.assertGreater(second.usage.input_tokens_details.cached_tokens, first.usage.input_tokens // 2)

    def test_seeds_make_answers(self):
        drawn = self.chat(temperature=1, seed=5, n=3).choices
        for i, choice in enumerate(drawn):
            alone = self.chat(temperature=1, seed=5 + i).choices[0]
            self.assertEqual(alone.message.content, choice.message.content)
            self.assertEqual(alone.finish_reason, choice.finish_reason)

    def test_logprobs_are_the_likeliest(self):
        told = self.chat(logprobs=True, top_logprobs=3).choices[0].logprobs.to_dict()
        entries = told["content"] + told.get("reasoning_content", [])
        self.assertTrue(entries)
        for entry in entries:
            self.assertEqual(entry["logprob"], max(top["logprob"] for top in entry["top_logprobs"]))

    def test_echo_scores_a_prompt(self):
        def score(prompt):
            answer = self.client.completions.create(
                model=self.name, prompt=prompt, echo=True, logprobs=1, max_tokens=1, temperature=0
            )
            return answer.choices[0].logprobs.token_logprobs

        first = score("What is 47 + 86?")
        self.assertIsNone(first[0])
        self.assertTrue(all(value <= 0 for value in first[1:]))
        self.assertEqual(first, score("What is 47 + 86?"))

    def test_embeddings_are_the_same_alone_and_among_others(self):
        texts = ["What is 47 + 86?", "A whale dives.", "It caches a lot. " * 40]
        embed = lambda text, **more: [one.embedding for one in self.client.embeddings.create(model=self.name, input=text, **more).data]
        for pooling in ("last", "mean"):
            together = embed(texts, extra_body={"pooling": pooling})
            for text, vector in zip(texts, together):
                alone = embed(text, encoding_format="float", extra_body={"pooling": pooling})
                self.assertEqual([as_f32(one) for one in alone], [list(vector)])
                self.assertAlmostEqual(sum(x * x for x in vector), 1, places=5)

    def test_what_was_cached_is_told(self):
        long = user("Please add these numbers for me: " + " ".join(str(i) for i in range(100)))
        for _ in range(2):
            answer = self.client.chat.completions.create(model=self.name, messages=long, max_tokens=1)
        self.assertGreater(answer.usage.prompt_tokens_details.cached_tokens, 0)


class TinyR1(Cachalot, unittest.TestCase):
    model = "tiny-r1"


class TinyQwen(Cachalot, unittest.TestCase):
    model = "tiny-qwen"


class Gqa(Cachalot, unittest.TestCase):
    model = servers.test_models() / "gqa"


class Mla(Cachalot, unittest.TestCase):
    model = servers.test_models() / "mla"


if __name__ == "__main__":
    unittest.main()
