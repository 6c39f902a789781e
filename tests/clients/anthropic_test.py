"""Anthropic's client for Python against the scripted server, and against `cachalot serve`."""

import json
import time
import unittest
import urllib.request

import anthropic

import servers


def client_of(address, key=servers.KEY, **more):
    return anthropic.Anthropic(base_url=address, api_key=key, max_retries=0, timeout=60, **more)


def user(content):
    return [{"role": "user", "content": content}]


class Scripted(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.address = cls.enterClassContext(servers.scripted())
        cls.client = client_of(cls.address)

    CALLS = [{"name": "weather", "arguments": {"city": "Köln \"am\" Rhein </tool_call>", "days": [1, 2.5, None]}},
             {"name": "time", "arguments": {}}]
    TOOLS = [{"name": "weather", "description": "the weather of a city",
              "input_schema": {"type": "object", "properties": {"city": {"type": "string"}, "days": {"type": "array"}}}},
             {"name": "time", "input_schema": {"type": "object", "properties": {}}}]
    ORDER = "calls " + json.dumps(CALLS)

    def ask(self, content, **more):
        return self.client.messages.create(model="scripted", max_tokens=1000, messages=user(content), **more)

    def stream(self, content, **more):
        """The types of a stream's events, in order, and the message that the client has put together."""
        with self.client.messages.stream(model="scripted", max_tokens=1000, messages=user(content), **more) as stream:
            types = [event.type for event in stream]
            return types, stream.get_final_message()

    def running(self):
        request = urllib.request.Request(self.address + "/running", headers={"x-api-key": servers.KEY})
        return int(urllib.request.urlopen(request).read())

    def assert_nothing_runs(self):
        until = time.monotonic() + 5
        while self.running() and time.monotonic() < until:
            time.sleep(0.01)
        self.assertEqual(self.running(), 0)

    def test_text_and_thinking(self):
        for message in (self.ask("reason Grüß Gott 🐳"), self.stream("reason Grüß Gott 🐳")[1]):
            self.assertEqual([block.type for block in message.content], ["thinking", "text"])
            self.assertEqual((message.content[0].thinking, message.content[1].text), ("Hm, so.", "Grüß Gott 🐳"))
            self.assertTrue(message.content[0].signature)
            self.assertEqual((message.role, message.type, message.model), ("assistant", "message", "scripted"))
            self.assertEqual((message.stop_reason, message.stop_sequence), ("end_turn", None))
            self.assertGreater(message.usage.input_tokens, 0)
            self.assertGreater(message.usage.output_tokens, message.usage.output_tokens_details.thinking_tokens)

    def test_every_field_is_of_its_type(self):
        for message in (self.ask("reason Yes"), self.ask(self.ORDER, tools=self.TOOLS)):
            type(message).model_validate(message.to_dict(), strict=True)

    def test_events(self):
        types, message = self.stream("reason one 🐳 two")
        self.assertEqual(types[0], "message_start")
        self.assertEqual(types[-2:], ["message_delta", "message_stop"])
        self.assertEqual(types.count("content_block_start"), 2)
        self.assertIn("thinking", types)
        self.assertIn("signature", types)
        self.assertEqual(message.content[1].text, "one 🐳 two")

    def test_thinking_that_is_not_shown_comes_back(self):
        thinking = {"type": "adaptive", "display": "omitted"}
        for message in (self.ask("reason Yes", thinking=thinking), self.stream("reason Yes", thinking=thinking)[1]):
            self.assertEqual(message.content[0].thinking, "")
            conversation = user("reason Yes") + [{"role": "assistant", "content": message.content}] + user("reason Yes")
            then = self.client.messages.create(model="scripted", max_tokens=100, messages=conversation)
            self.assertEqual(then.content[-1].text, "Yes")

    def assert_called(self, message):
        self.assertEqual([block.type for block in message.content], ["text", "tool_use", "tool_use"])
        self.assertEqual(message.content[0].text, "Let me look.")
        calls = message.content[1:]
        self.assertEqual([(c.name, c.input) for c in calls], [(c["name"], c["arguments"]) for c in self.CALLS])
        self.assertEqual(len({c.id for c in calls}), 2)
        self.assertEqual(message.stop_reason, "tool_use")

    def test_calls_and_their_results(self):
        for message in (self.ask(self.ORDER, tools=self.TOOLS), self.stream(self.ORDER, tools=self.TOOLS)[1]):
            self.assert_called(message)
            results = [{"type": "tool_result", "tool_use_id": call.id, "content": result}
                       for call, result in zip(message.content[1:], ("sunny", [{"type": "text", "text": "noon"}]))]
            conversation = user(self.ORDER) + [{"role": "assistant", "content": message.content}] + user(results)
            then = self.client.messages.create(model="scripted", max_tokens=100, messages=conversation, tools=self.TOOLS)
            self.assertEqual(then.content[0].text, "It says sunny and noon")
            self.assertEqual(then.stop_reason, "end_turn")

    def test_one_call(self):
        message = self.ask(self.ORDER, tools=self.TOOLS, tool_choice={"type": "auto", "disable_parallel_tool_use": True})
        self.assertEqual([block.type for block in message.content], ["text", "tool_use"])
        self.assertEqual(message.stop_reason, "tool_use")

    def test_the_tool_runner(self):
        @anthropic.beta_tool
        def weather(city: str) -> str:
            """The weather of a city."""
            return f"sunny in {city}"

        order = "calls " + json.dumps([{"name": "weather", "arguments": {"city": "Köln"}}])
        for streamed in (False, True):
            runner = self.client.beta.messages.tool_runner(model="scripted", max_tokens=1000, messages=user(order),
                                                           tools=[weather], stream=streamed)
            last = runner.until_done()
            self.assertEqual(last.content[0].text, "It says sunny in Köln")

    def test_stop_and_length(self):
        message = self.ask("say one two three", stop_sequences=[" three"])
        self.assertEqual((message.content[0].text, message.stop_reason, message.stop_sequence),
                         ("one two", "stop_sequence", " three"))
        message = self.client.messages.create(model="scripted", max_tokens=3, messages=user("say one two three four five"))
        self.assertEqual((message.stop_reason, message.usage.output_tokens), ("max_tokens", 3))

    def test_count_tokens(self):
        asked = dict(model="scripted", messages=user("say x"), system="Be brief.", tools=self.TOOLS)
        counted = self.client.messages.count_tokens(**asked).input_tokens
        self.assertEqual(counted, self.client.messages.create(max_tokens=10, **asked).usage.input_tokens)
        self.assertEqual(counted, self.client.beta.messages.count_tokens(**asked, betas=["token-counting-2024-11-01"]).input_tokens)

    def test_beta(self):
        message = self.client.beta.messages.create(
            model="scripted", max_tokens=100, messages=user("say x"), betas=["context-management-2025-06-27"],
            context_management={"edits": [{"type": "clear_thinking_20251015", "keep": "all"}]},
            thinking={"type": "enabled", "budget_tokens": 50}, output_config={"effort": "high"}, metadata={"user_id": "me"},
            service_tier="auto", extra_body={"seed": 7})
        self.assertEqual(message.content[0].text, "x")

    def test_models(self):
        models = list(self.client.models.list())
        self.assertEqual([(m.id, m.type, m.display_name) for m in models][0], ("scripted", "model", "scripted"))
        model = self.client.models.retrieve("scripted")
        type(model).model_validate(model.to_dict())
        self.assertEqual(model.max_input_tokens, 4096)
        self.assertGreater(model.created_at.year, 2000)
        with self.assertRaises(anthropic.NotFoundError):
            self.client.models.retrieve("another")

    def assert_error(self, kind, type_name, work):
        with self.assertRaises(kind) as raised:
            work()
        self.assertEqual(raised.exception.type, type_name)
        self.assertTrue(raised.exception.request_id)
        self.assertEqual(raised.exception.body["request_id"], raised.exception.request_id)
        return str(raised.exception)

    def test_errors(self):
        self.assert_error(anthropic.AuthenticationError, "authentication_error",
                          lambda: client_of(self.address, key="wrong").messages.count_tokens(model="scripted", messages=user("x")))
        self.assert_error(anthropic.NotFoundError, "not_found_error",
                          lambda: self.client.messages.create(model="another", max_tokens=10, messages=user("say x")))
        self.assert_error(anthropic.NotFoundError, "not_found_error", lambda: self.client.messages.batches.retrieve("x"))
        why = self.assert_error(anthropic.BadRequestError, "invalid_request_error",
                                lambda: self.ask("say x", tool_choice={"type": "any"}, tools=self.TOOLS))
        self.assertIn("tool_choice", why)
        why = self.assert_error(anthropic.BadRequestError, "invalid_request_error", lambda: self.ask("word " * 5000))
        self.assertIn("maximum context length", why)
        self.assert_error(anthropic.InternalServerError, "api_error", lambda: self.ask("fail"))

    def test_an_error_in_a_stream(self):
        text = ""
        with self.assertRaises(anthropic.APIStatusError) as raised:
            for event in self.ask("fail", stream=True):
                if event.type == "content_block_delta":
                    text += event.delta.text
        self.assertEqual(text, "so far")
        self.assertIn("the script says", str(raised.exception))

    def test_patience(self):
        started = time.monotonic()
        self.assertEqual(self.stream("wait 12")[1].content[0].text, "at last")
        self.assertGreater(time.monotonic() - started, 10)

    def test_cancellation(self):
        stream = self.ask("endless", stream=True)
        for number, _ in enumerate(stream):
            if number == 5:
                break
        self.assertEqual(self.running(), 1)
        stream.close()
        self.assert_nothing_runs()


class Served(unittest.TestCase):
    """Real models that have learned nothing: what they say is nothing, but all of it comes from the engine."""

    def test_messages(self):
        with servers.cachalot(servers.test_models() / "gqa", "--context", "4096") as address:
            client = client_of(address)
            model = next(iter(client.models.list())).id
            asked = dict(model=model, max_tokens=12, messages=user("Hello there, how is it?"), extra_body={"temperature": 0})
            first = client.messages.create(**asked)
            self.assertLessEqual(first.usage.output_tokens, 12)
            total = first.usage.input_tokens + first.usage.cache_read_input_tokens
            self.assertEqual(client.messages.count_tokens(model=model, messages=asked["messages"]).input_tokens, total)
            with client.messages.stream(**asked) as stream:
                again = stream.get_final_message()
            self.assertEqual([b.to_dict() for b in again.content], [b.to_dict() for b in first.content])
            self.assertGreater(again.usage.cache_read_input_tokens, 0)
            self.assertEqual(again.usage.input_tokens + again.usage.cache_read_input_tokens, total)


if __name__ == "__main__":
    unittest.main()
