// Asks the agent with OpenAI's JavaScript library, as any program would. Prints what it got as JSON.
import { createRequire } from "node:module";

const [, , url, libraries] = process.argv;
const OpenAI = createRequire(libraries + "/")("openai");
const client = new OpenAI({
  baseURL: url.replace(/\/$/, "") + "/v1",
  apiKey: "sk-not-ours",
  maxRetries: 0,
});
const messages = [{ role: "user", content: "status" }];
const got = { models: [] };
for await (const model of client.models.list()) got.models.push(model.id);
got.model = (await client.models.retrieve("homing")).id;

const pieces = [];
const chunks = await client.chat.completions.create({
  model: "homing",
  messages,
  stream: true,
  stream_options: { include_usage: true },
});
for await (const chunk of chunks) {
  if (chunk.choices.length) {
    pieces.push(chunk.choices[0].delta.content ?? "");
    got.finish_reason = chunk.choices[0].finish_reason;
  }
  if (chunk.usage) got.tokens = chunk.usage.total_tokens;
}
got.pieces = pieces.length;
got.streamed = pieces.join("");
const whole = await client.chat.completions.create({ model: "homing", messages });
got.whole = whole.choices[0].message.content;

got.events = [];
const stream = client.responses.stream({ model: "homing", input: "status" });
for await (const event of stream) got.events.push(event.type);
got.response_streamed = (await stream.finalResponse()).output_text;
got.response = (await client.responses.create({ model: "homing", input: "status" })).output_text;

try {
  const tools = [{ type: "function", function: { name: "f", parameters: {} } }];
  await client.chat.completions.create({ model: "homing", messages, tools });
} catch (error) {
  got.refused = error instanceof OpenAI.BadRequestError && error.code;
}
try {
  await client.models.retrieve("nobody/nothing");
} catch (error) {
  got.missing = error instanceof OpenAI.NotFoundError && error.code;
}
console.log(JSON.stringify(got));
