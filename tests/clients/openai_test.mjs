// OpenAI's client for JavaScript against the scripted server (tests/server/scripted_server.cpp) and `cachalot serve`.
// It is found in the folder that CACHALOT_CLIENTS names; the other variables are those of servers.py.
import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { createRequire } from "node:module";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, describe, test } from "node:test";
import { pathToFileURL } from "node:url";

const require = createRequire(join(process.env.CACHALOT_CLIENTS, "package.json"));
const { default: OpenAI } = await import(pathToFileURL(require.resolve("openai")));

const KEY = "sk-clients-0123456789abcdef0123456789abcdef";
const models = process.env.CACHALOT_TEST_MODELS ?? join(import.meta.dirname ?? new URL(".", import.meta.url).pathname, "../../build/test-models");
const clientOf = (address, apiKey = KEY) => new OpenAI({ baseURL: address + "/v1", apiKey, maxRetries: 0 });
const user = (content) => [{ role: "user", content }];

// Starts a program and resolves with what `pattern` finds in what it says.
function start(program, args, output, pattern) {
  const child = spawn(program, args, { stdio: ["pipe", "pipe", "pipe"] });
  let said = "";
  const address = new Promise((resolve, reject) => {
    child[output].setEncoding("utf8").on("data", (text) => {
      said += text;
      const found = said.match(pattern);
      if (found) resolve(found[1]);
    });
    child.on("exit", (status) => reject(new Error(`the server has ended (${status}): ${said}`)));
  });
  address.catch(() => {});
  const ended = new Promise((resolve) => child.on("exit", resolve));
  for (const other of ["stdout", "stderr"]) if (other !== output) child[other].resume();
  return { address, ended, child };
}

describe("scripted", () => {
  let server, client, address;
  before(async () => {
    server = start(process.env.CACHALOT_SCRIPTED_SERVER, [join(models, "gqa"), KEY], "stdout", /(http:\S+)/);
    address = await server.address;
    client = clientOf(address);
  });
  after(async () => {
    server.child.stdin.end();
    assert.equal(await server.ended, 0);
  });
  const chat = (text, more = {}, options = {}) =>
    client.chat.completions.create({ model: "scripted", messages: user(text), ...more }, options);
  const running = async () =>
    Number(await (await fetch(address + "/running", { headers: { "x-api-key": KEY } })).text());
  const nothingRuns = async () => {
    for (let i = 0; i < 500 && (await running()) > 0; ++i) await new Promise((done) => setTimeout(done, 10));
    assert.equal(await running(), 0);
  };

  test("chat", async () => {
    const answer = await chat("reason Grüß Gott 你好 🐳");
    assert.equal(answer.choices[0].message.content, "Grüß Gott 你好 🐳");
    assert.equal(answer.choices[0].message.reasoning_content, "Hm, so.");
    assert.equal(answer.choices[0].finish_reason, "stop");
    assert.equal(answer.usage.total_tokens, answer.usage.prompt_tokens + answer.usage.completion_tokens);
  });

  test("streaming", async () => {
    let text = "", usage = null;
    for await (const chunk of await chat("say one 🐳 two", { stream: true, stream_options: { include_usage: true } })) {
      usage = chunk.usage ?? usage;
      text += chunk.choices[0]?.delta.content ?? "";
    }
    assert.equal(text, "one 🐳 two");
    assert.ok(usage.completion_tokens > 0);
  });

  test("calls and their results, whole and streamed", async () => {
    const calls = [
      { name: "weather", arguments: { city: 'Köln "am" Rhein </tool_call>', days: [1, 2.5, null] } },
      { name: "time", arguments: {} },
    ];
    const tools = [
      { type: "function", function: { name: "weather", parameters: { type: "object", properties: { city: { type: "string" }, days: { type: "array" } } } } },
      { type: "function", function: { name: "time", parameters: { type: "object", properties: {} } } },
    ];
    const order = "calls " + JSON.stringify(calls);
    const check = (choice) => {
      assert.equal(choice.finish_reason, "tool_calls");
      assert.equal(choice.message.content, "Let me look.");
      assert.deepEqual(choice.message.tool_calls.map((c) => ({ name: c.function.name, arguments: JSON.parse(c.function.arguments) })), calls);
    };
    const { choices } = await chat(order, { tools });
    check(choices[0]);
    const stream = client.chat.completions.stream({ model: "scripted", messages: user(order), tools });
    check((await stream.finalChatCompletion()).choices[0]);
    const results = choices[0].message.tool_calls.map((c, i) => ({ role: "tool", tool_call_id: c.id, content: ["sunny", "noon"][i] }));
    const then = await client.chat.completions.create({ model: "scripted", messages: [...user(order), choices[0].message, ...results], tools });
    assert.equal(then.choices[0].message.content, "It says sunny and noon");
  });

  test("the stream helper", async () => {
    const stream = client.chat.completions.stream({ model: "scripted", messages: user("say a helper") });
    const final = await stream.finalChatCompletion();
    assert.equal(final.choices[0].message.content, "a helper");
  });

  test("several answers", async () => {
    const answer = await chat("say number {n}", { n: 3 });
    assert.deepEqual(answer.choices.map((choice) => choice.message.content), ["number 0", "number 1", "number 2"]);
  });

  test("log-probabilities", async () => {
    const { logprobs, message } = (await chat("say a 🐳", { logprobs: true, top_logprobs: 2 })).choices[0];
    const bytes = logprobs.content.flatMap((entry) => entry.bytes);
    assert.equal(Buffer.from(bytes).toString(), message.content);
    for (const entry of logprobs.content) assert.equal(entry.top_logprobs.length, 2);
  });

  test("completions", async () => {
    const answer = await client.completions.create({ model: "scripted", prompt: ["say one", "say two"], echo: true, logprobs: 1 });
    assert.deepEqual(answer.choices.map((choice) => choice.text), ["say oneone", "say twotwo"]);
    assert.equal(answer.choices[0].logprobs.token_logprobs[0], null);
  });

  test("embeddings", async () => {
    const input = ["one", "two 你好", "one"];
    const embed = (more = {}) => client.embeddings.create({ model: "scripted", input, ...more });
    const packed = await embed(), numbers = await embed({ encoding_format: "float" }); // base64 by itself, and unpacked
    assert.deepEqual(packed.data.map((one) => [...one.embedding]), numbers.data.map((one) => one.embedding.map(Math.fround)));
    assert.deepEqual(packed.data.map((one) => one.index), [0, 1, 2]);
    assert.equal(packed.usage.total_tokens, packed.usage.prompt_tokens);
    for (const one of (await embed({ dimensions: 3 })).data) {
      assert.equal(one.embedding.length, 3);
      assert.ok(Math.abs(one.embedding.reduce((sum, x) => sum + x * x, 0) - 1) < 1e-5);
    }
    await assert.rejects(embed({ dimensions: 9 }), (error) => error.param === "dimensions");
  });

  test("responses", async () => {
    const asked = { model: "scripted", input: "reason Grüß Gott 🐳" };
    const whole = await client.responses.create(asked);
    const types = [];
    const stream = client.responses.stream(asked).on("event", (event) => types.push(event.type));
    for (const response of [whole, await stream.finalResponse()]) {
      assert.equal(response.output_text, "Grüß Gott 🐳");
      assert.equal(response.output[0].content[0].text, "Hm, so.");
      assert.equal(response.status, "completed");
    }
    assert.deepEqual(types.slice(0, 3), ["response.created", "response.in_progress", "response.output_item.added"]);
    assert.equal((await client.responses.retrieve(whole.id)).output_text, whole.output_text);
    const items = [];
    for await (const item of client.responses.inputItems.list(whole.id)) items.push(item.content[0].text);
    assert.deepEqual(items, [asked.input]);
    await client.responses.delete(whole.id);
    await assert.rejects(client.responses.retrieve(whole.id), OpenAI.NotFoundError);
    await assert.rejects(client.responses.create({ ...asked, previous_response_id: whole.id }), (error) => error.code === "previous_response_not_found");
  });

  test("a response's calls and their results, whole and streamed", async () => {
    const calls = [{ name: "weather", arguments: { city: 'Köln "am" Rhein </tool_call>' } }, { name: "time", arguments: {} }];
    const tools = calls.map(({ name }) => ({ type: "function", name, strict: false, parameters: { type: "object", properties: { city: { type: "string" } } } }));
    const asked = { model: "scripted", input: "calls " + JSON.stringify(calls), tools };
    for (const response of [await client.responses.create(asked), await client.responses.stream(asked).finalResponse()]) {
      assert.equal(response.output_text, "Let me look.");
      const made = response.output.filter((item) => item.type === "function_call");
      assert.deepEqual(made.map((c) => ({ name: c.name, arguments: JSON.parse(c.arguments) })), calls);
      const results = made.map((c, i) => ({ type: "function_call_output", call_id: c.call_id, output: ["sunny", "noon"][i] }));
      const then = await client.responses.create({ ...asked, input: results, previous_response_id: response.id });
      assert.equal(then.output_text, "It says sunny and noon");
    }
  });

  test("a response that fails in its stream", async () => {
    let text = "";
    await assert.rejects(async () => {
      for await (const event of await client.responses.create({ model: "scripted", input: "fail", stream: true }))
        if (event.type === "response.output_text.delta") text += event.delta;
    }, OpenAI.APIError);
    assert.equal(text, "so far");
  });

  test("models", async () => {
    const ids = [];
    for await (const model of client.models.list()) ids.push(model.id);
    assert.deepEqual(ids, ["scripted"]);
  });

  test("errors", async () => {
    await assert.rejects(clientOf(address, "wrong").models.list(), OpenAI.AuthenticationError);
    await assert.rejects(client.chat.completions.create({ model: "another", messages: user("say x") }), OpenAI.NotFoundError);
    await assert.rejects(chat("say x", { temperature: -1 }), (error) => error instanceof OpenAI.BadRequestError && error.param === "temperature");
    await assert.rejects(chat("word ".repeat(5000)), (error) => error.code === "context_length_exceeded");
    await assert.rejects(chat("fail"), OpenAI.InternalServerError);
    let text = "";
    await assert.rejects(async () => {
      for await (const chunk of await chat("fail", { stream: true })) text += chunk.choices[0]?.delta.content ?? "";
    }, OpenAI.APIError);
    assert.equal(text, "so far");
  });

  test("cancellation", async () => {
    const stream = await chat("endless", { stream: true });
    let chunks = 0;
    for await (const _ of stream) if (++chunks === 5) break;
    await nothingRuns();
    const control = new AbortController();
    const answer = chat("endless", {}, { signal: control.signal });
    setTimeout(() => control.abort(), 200);
    await assert.rejects(answer, OpenAI.APIUserAbortError);
    await nothingRuns();
  });
});

for (const model of ["tiny-r1", "tiny-qwen", join(models, "gqa"), join(models, "mla")]) {
  describe(`cachalot serve ${model}`, { skip: !process.env.CACHALOT_PROGRAM }, () => {
    let server, client, name, folder;
    before(async () => {
      folder = mkdtempSync(join(tmpdir(), "cachalot-clients-"));
      writeFileSync(join(folder, "keys"), KEY + " clients\n", { mode: 0o600 });
      const options = ["serve", model, "--port", "0", "--context", "1024", "--api-key-file", join(folder, "keys")];
      server = start(process.env.CACHALOT_PROGRAM, options, "stderr", /ready on (http:\S+)\/v1/);
      client = clientOf(await server.address);
      for await (const one of client.models.list()) name = one.id;
    });
    after(async () => {
      server.child.kill("SIGTERM");
      assert.equal(await server.ended, 0);
      rmSync(folder, { recursive: true });
    });

    test("a stream says what is said at once", async () => {
      const asked = { model: name, messages: user("What is 47 + 86?"), temperature: 0, max_tokens: 40 };
      const { message } = (await client.chat.completions.create(asked)).choices[0];
      let text = "", reasoning = "";
      for await (const chunk of await client.chat.completions.create({ ...asked, stream: true })) {
        text += chunk.choices[0]?.delta.content ?? "";
        reasoning += chunk.choices[0]?.delta.reasoning_content ?? "";
      }
      assert.equal(text, message.content);
      assert.equal(reasoning, message.reasoning_content ?? "");
    });
  });
}
