// Anthropic's client for JavaScript against the scripted server (tests/server/scripted_server.cpp). It is found in the
// folder that CACHALOT_CLIENTS names; the other variables are those of servers.py.
import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { createRequire } from "node:module";
import { join } from "node:path";
import { after, before, describe, test } from "node:test";
import { pathToFileURL } from "node:url";

const require = createRequire(join(process.env.CACHALOT_CLIENTS, "package.json"));
const { default: Anthropic } = await import(pathToFileURL(require.resolve("@anthropic-ai/sdk")));

const KEY = "sk-clients-0123456789abcdef0123456789abcdef";
const models = process.env.CACHALOT_TEST_MODELS ?? join(import.meta.dirname ?? new URL(".", import.meta.url).pathname, "../../build/test-models");
const clientOf = (baseURL, apiKey = KEY) => new Anthropic({ baseURL, apiKey, maxRetries: 0 });
const user = (content) => [{ role: "user", content }];

describe("scripted", () => {
  let server, client, address;
  before(async () => {
    server = spawn(process.env.CACHALOT_SCRIPTED_SERVER, [join(models, "gqa"), KEY], { stdio: ["pipe", "pipe", "inherit"] });
    address = await new Promise((resolve, reject) => {
      server.stdout.setEncoding("utf8").once("data", (text) => resolve(text.trim()));
      server.once("exit", (status) => reject(new Error(`the server has ended: ${status}`)));
    });
    client = clientOf(address);
  });
  after(async () => {
    const ended = new Promise((resolve) => server.once("exit", resolve));
    server.stdin.end();
    assert.equal(await ended, 0);
  });
  const asked = (content, more = {}) => ({ model: "scripted", max_tokens: 1000, messages: user(content), ...more });
  const ask = (content, more) => client.messages.create(asked(content, more));
  const streamed = (content, more) => client.messages.stream(asked(content, more)).finalMessage();

  test("text and thinking, whole and streamed", async () => {
    for (const message of [await ask("reason Grüß Gott 🐳"), await streamed("reason Grüß Gott 🐳")]) {
      assert.deepEqual(message.content.map((block) => block.thinking ?? block.text), ["Hm, so.", "Grüß Gott 🐳"]);
      assert.ok(message.content[0].signature);
      assert.equal(message.stop_reason, "end_turn");
      assert.ok(message.usage.input_tokens > 0 && message.usage.output_tokens > 0);
    }
  });

  test("the stream helper's events", async () => {
    const said = { text: "", thinking: "", signature: "" };
    const stream = client.messages.stream(asked("reason one 🐳 two"));
    for (const name of Object.keys(said)) stream.on(name, (delta) => (said[name] += delta));
    const message = await stream.finalMessage();
    assert.deepEqual(said, { text: "one 🐳 two", thinking: "Hm, so.", signature: message.content[0].signature });
  });

  test("calls and their results, whole and streamed", async () => {
    const calls = [{ name: "weather", arguments: { city: 'Köln "am" Rhein </tool_call>', days: [1, 2.5, null] } }, { name: "time", arguments: {} }];
    const tools = calls.map(({ name }) => ({ name, input_schema: { type: "object", properties: { city: { type: "string" }, days: { type: "array" } } } }));
    const order = "calls " + JSON.stringify(calls);
    for (const message of [await ask(order, { tools }), await streamed(order, { tools })]) {
      assert.equal(message.stop_reason, "tool_use");
      const made = message.content.filter((block) => block.type === "tool_use");
      assert.deepEqual(made.map((c) => ({ name: c.name, arguments: c.input })), calls);
      const results = made.map((c, i) => ({ type: "tool_result", tool_use_id: c.id, content: ["sunny", "noon"][i] }));
      const messages = [...user(order), { role: "assistant", content: message.content }, ...user(results)];
      const then = await client.messages.create({ model: "scripted", max_tokens: 100, messages, tools });
      assert.equal(then.content[0].text, "It says sunny and noon");
    }
  });

  test("the tool runner", async () => {
    const weather = {
      name: "weather",
      input_schema: { type: "object", properties: { city: { type: "string" } } },
      parse: (input) => input,
      run: ({ city }) => `sunny in ${city}`,
    };
    const last = await client.beta.messages.toolRunner(asked('calls [{"name": "weather", "arguments": {"city": "Köln"}}]', { tools: [weather] }));
    assert.equal(last.content[0].text, "It says sunny in Köln");
  });

  test("count_tokens", async () => {
    const { input_tokens } = await client.messages.countTokens({ model: "scripted", messages: user("say x"), system: "Be brief." });
    assert.equal(input_tokens, (await ask("say x", { system: "Be brief." })).usage.input_tokens);
  });

  test("models", async () => {
    const ids = [];
    for await (const model of client.models.list()) ids.push(model.id);
    assert.equal(ids[0], "scripted");
    assert.equal((await client.models.retrieve("scripted")).type, "model");
  });

  test("errors", async () => {
    const type = (expected) => (error) => error.type === expected && error.requestID?.length > 0;
    await assert.rejects(clientOf(address, "wrong").messages.create(asked("say x")), Anthropic.AuthenticationError);
    await assert.rejects(ask("say x", { model: "another" }), type("not_found_error"));
    await assert.rejects(ask("say x", { tool_choice: { type: "any" } }), type("invalid_request_error"));
    await assert.rejects(ask("fail"), type("api_error"));
    let text = "";
    await assert.rejects(async () => {
      for await (const event of await ask("fail", { stream: true })) text += event.delta?.text ?? "";
    }, /the script says/);
    assert.equal(text, "so far");
  });
});
