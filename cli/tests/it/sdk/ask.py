"""Asks the agent with OpenAI's Python library, as any program would. Prints what it got as JSON."""

import json
import sys

import openai

client = openai.OpenAI(
    base_url=sys.argv[1].rstrip("/") + "/v1", api_key="sk-not-ours", max_retries=0
)
question = [{"role": "user", "content": "status"}]
got = {"models": [model.id for model in client.models.list()]}
got["model"] = client.models.retrieve("homing").id

pieces = []
for chunk in client.chat.completions.create(
    model="homing",
    messages=question,
    stream=True,
    stream_options={"include_usage": True},
):
    if chunk.choices:
        pieces.append(chunk.choices[0].delta.content or "")
        got["finish_reason"] = chunk.choices[0].finish_reason
    if chunk.usage:
        got["tokens"] = chunk.usage.total_tokens
got["pieces"] = len(pieces)
got["streamed"] = "".join(pieces)
whole = client.chat.completions.create(model="homing", messages=question)
got["whole"] = whole.choices[0].message.content

with client.responses.stream(model="homing", input="status") as stream:
    got["events"] = [event.type for event in stream]
    got["response_streamed"] = stream.get_final_response().output_text
got["response"] = client.responses.create(model="homing", input="status").output_text

try:
    client.chat.completions.create(
        model="homing",
        messages=question,
        tools=[{"type": "function", "function": {"name": "f", "parameters": {}}}],
    )
except openai.BadRequestError as error:
    got["refused"] = error.code
try:
    client.models.retrieve("nobody/nothing")
except openai.NotFoundError as error:
    got["missing"] = error.code
print(json.dumps(got))
