// The `openai` package of npm against a running server: $OPENAI_BASE_URL, $OPENAI_API_KEY.
const assert = require("node:assert/strict");
const OpenAI = require("openai").default;

const schema = {
  type: "object",
  properties: { fever: { type: "boolean" }, ward: { enum: ["A", "B"] } },
  required: ["fever", "ward"],
  additionalProperties: false,
};
const tool = { type: "function", function: { name: "admit", description: "admits a patient", parameters: schema } };
const messages = [{ role: "user", content: "How is the patient?" }];
// The tests' model is random: without a grammar it may say anything, so answers are kept short.
const plain = { model: "tiny", messages, max_tokens: 8, temperature: 0, seed: 1 };
const client = new OpenAI({ maxRetries: 0, timeout: 120000 });
const ask = (more) => client.chat.completions.create({ ...plain, ...more });

const tests = {
  async models() {
    const ids = [];
    for await (const model of client.models.list()) ids.push(model.id);
    assert.deepEqual(ids, ["tiny", "ward-7"]);
  },

  async answers() {
    const answer = await ask({ n: 2 });
    assert.equal(answer.choices.length, 2);
    assert.equal(answer.usage.total_tokens, answer.usage.prompt_tokens + answer.usage.completion_tokens);
    const text = await client.completions.create({ model: "ward-7", prompt: "fever", max_tokens: 4, logprobs: 1 });
    assert.ok(text.choices[0].logprobs.token_logprobs.every((p) => p <= 0));
  },

  async streams() {
    const whole = (await ask()).choices[0].message.content;
    let text = "", usage = null;
    for await (const chunk of await ask({ stream: true, stream_options: { include_usage: true } })) {
      text += chunk.choices[0]?.delta?.content ?? "";
      usage = chunk.usage ?? usage;
    }
    assert.equal(text, whole);
    assert.ok(usage.completion_tokens > 0);
    const broken = await ask({ stream: true, max_tokens: 200 });
    for await (const _ of broken) break; // and goes away
  },

  async tools() {
    const asked = { tools: [tool], tool_choice: { type: "function", function: { name: "admit" } }, max_tokens: 200 };
    const choice = (await ask(asked)).choices[0];
    assert.equal(choice.finish_reason, "tool_calls");
    const call = choice.message.tool_calls[0];
    assert.equal(call.function.name, "admit");
    assert.ok(["A", "B"].includes(JSON.parse(call.function.arguments).ward));
    let args = "";
    for await (const chunk of await ask({ ...asked, stream: true })) {
      for (const part of chunk.choices[0].delta.tool_calls ?? []) args += part.function.arguments;
    }
    assert.equal(args, call.function.arguments);
    const told = [...messages, choice.message, { role: "tool", tool_call_id: call.id, content: "admitted" }];
    assert.equal((await ask({ messages: told, tools: [tool] })).choices.length, 1);
  },

  async jsonSchema() {
    const format = { type: "json_schema", json_schema: { name: "finding", schema, strict: true } };
    const answer = await ask({ response_format: format, temperature: 1, max_tokens: 200 });
    assert.deepEqual(Object.keys(JSON.parse(answer.choices[0].message.content)).sort(), ["fever", "ward"]);
  },

  async embeddings() {
    const { data } = await client.embeddings.create({ model: "tiny", input: ["fever", "cough"] });
    assert.equal(data.length, 2);
    assert.ok(Math.abs(data[0].embedding.reduce((sum, x) => sum + x * x, 0) - 1) < 1e-3);
  },

  async errors() {
    await assert.rejects(ask({ model: "gpt-4" }), (e) => e instanceof OpenAI.NotFoundError && e.code === "model_not_found");
    await assert.rejects(ask({ temperature: 9 }), (e) => e instanceof OpenAI.BadRequestError && e.param === "temperature");
    const stranger = new OpenAI({ apiKey: "sk-wrong", maxRetries: 0 });
    await assert.rejects(stranger.models.list(), (e) => e instanceof OpenAI.AuthenticationError && e.status === 401);
  },
};

(async () => {
  for (const [name, test] of Object.entries(tests)) {
    await test();
    console.log(`node openai: ${name} ok`);
  }
})().catch((error) => {
  console.error(error);
  process.exit(1);
});
