// The AI SDK (npm: ai) with its clients for OpenAI-compatible servers and for OpenAI's Responses, against the scripted server
// (tests/server/scripted_server.cpp). The environment is that of servers.py, and CACHALOT_CLIENTS as in openai_test.mjs.
import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { createRequire } from "node:module";
import { join } from "node:path";
import { after, before, describe, test } from "node:test";
import { pathToFileURL } from "node:url";

const require = createRequire(join(process.env.CACHALOT_CLIENTS, "package.json"));
const load = (name) => import(pathToFileURL(require.resolve(name)));
const { generateText, streamText, jsonSchema, stepCountIs, tool } = await load("ai");
const { createOpenAICompatible } = await load("@ai-sdk/openai-compatible");
const { createOpenAI } = await load("@ai-sdk/openai");

const KEY = "sk-clients-0123456789abcdef0123456789abcdef";
const models = process.env.CACHALOT_TEST_MODELS ?? join(import.meta.dirname ?? new URL(".", import.meta.url).pathname, "../../build/test-models");

// Where a client reads reasoning itself; that for Responses knows summaries alone.
const clients = {
  chat: { reads: "Hm, so.", make: (settings) => createOpenAICompatible({ name: "cachalot", includeUsage: true, ...settings })("scripted") },
  responses: { reads: "", make: (settings) => createOpenAI(settings).responses("scripted") },
};

for (const [name, { reads, make }] of Object.entries(clients)) describe(`the AI SDK, ${name}`, () => {
  let server, ended, model;
  before(async () => {
    server = spawn(process.env.CACHALOT_SCRIPTED_SERVER, [join(models, "gqa"), KEY], { stdio: ["pipe", "pipe", "inherit"] });
    ended = new Promise((resolve) => server.on("exit", resolve));
    const address = await new Promise((resolve, reject) => {
      server.stdout.setEncoding("utf8").once("data", (text) => resolve(text.trim()));
      server.on("exit", (status) => reject(new Error(`the server has ended: ${status}`)));
    });
    model = make({ baseURL: address + "/v1", apiKey: KEY });
  });
  after(async () => {
    server.stdin.end();
    assert.equal(await ended, 0);
  });

  const calls = [
    { name: "weather", arguments: { city: 'Köln "am" Rhein </tool_call>' } },
    { name: "add", arguments: { numbers: [1, -2.5, 1e3] } },
  ];
  const asked = [];
  const tools = {
    weather: tool({
      inputSchema: jsonSchema({ type: "object", properties: { city: { type: "string" } }, required: ["city"] }),
      execute: async (input) => (asked.push(input), "sunny"),
    }),
    add: tool({
      inputSchema: jsonSchema({ type: "object", properties: { numbers: { type: "array", items: { type: "number" } } } }),
      execute: async (input) => (asked.push(input), String(input.numbers.reduce((a, b) => a + b))),
    }),
  };
  const prompt = "calls " + JSON.stringify(calls);

  test("reasoning and text", async () => {
    const { text, reasoningText, usage, finishReason } = await generateText({ model, prompt: "reason Grüß Gott 🐳" });
    assert.equal(text, "Grüß Gott 🐳");
    assert.equal(reasoningText ?? "", reads);
    assert.equal(finishReason, "stop");
    assert.ok(usage.outputTokens > 0);
  });

  test("a tool loop", async () => {
    asked.length = 0;
    const { text, steps } = await generateText({ model, prompt, tools, stopWhen: stepCountIs(3) });
    assert.deepEqual(asked, calls.map((c) => c.arguments));
    assert.equal(text, "It says sunny and 998.5");
    assert.deepEqual(steps.map((s) => s.finishReason), ["tool-calls", "stop"]);
  });

  test("a streamed tool loop", async () => {
    asked.length = 0;
    const kinds = new Set();
    const result = streamText({ model, prompt, tools, stopWhen: stepCountIs(3) });
    for await (const part of result.fullStream) {
      assert.notEqual(part.type, "error", String(part.error));
      kinds.add(part.type);
    }
    assert.deepEqual(asked, calls.map((c) => c.arguments));
    assert.equal(await result.text, "It says sunny and 998.5");
    for (const kind of ["text-delta", "tool-call", "tool-result"]) assert.ok(kinds.has(kind), kind);
  });

  test("reasoning streamed", async () => {
    let reasoning = "";
    const result = streamText({ model, prompt: "reason Yes" });
    for await (const part of result.fullStream) if (part.type === "reasoning-delta") reasoning += part.text;
    assert.equal(reasoning, reads);
    assert.equal(await result.text, "Yes");
  });
});
