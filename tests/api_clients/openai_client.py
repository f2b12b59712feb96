"""The `openai` package of PyPI against a running server: $OPENAI_BASE_URL, $OPENAI_API_KEY, $FEDGLM_POOR_KEY."""

import json
import os

import openai

SCHEMA = {
    "type": "object",
    "properties": {"fever": {"type": "boolean"}, "ward": {"enum": ["A", "B"]}},
    "required": ["fever", "ward"],
    "additionalProperties": False,
}
TOOL = {"type": "function", "function": {"name": "admit", "description": "admits a patient", "parameters": SCHEMA}}
QUESTION = [{"role": "system", "content": "be brief"}, {"role": "user", "content": "How is the patient?"}]
# The tests' model is random: without a grammar it may say anything, so answers are kept short.
PLAIN = {"model": "tiny", "messages": QUESTION, "max_tokens": 8, "temperature": 0, "seed": 1}

client = openai.OpenAI(max_retries=0, timeout=120)


def expect(error, status, call, code=None):
    """`call` must fail with this class and HTTP status, and OpenAI's shape must be there to read."""
    try:
        call()
    except error as caught:
        assert caught.status_code == status, caught
        assert caught.request_id, caught
        assert code is None or caught.code == code, (caught.code, code)
        return caught
    raise AssertionError(f"no {error.__name__}")


def models():
    assert [m.id for m in client.models.list()] == ["tiny", "ward-7"]
    assert client.models.retrieve("ward-7").id == "ward-7"


def answers():
    answer = client.chat.completions.create(**PLAIN, n=2)
    assert [c.index for c in answer.choices] == [0, 1]
    assert answer.choices[0].message.role == "assistant"
    assert answer.usage.total_tokens == answer.usage.prompt_tokens + answer.usage.completion_tokens
    text = client.completions.create(model="ward-7", prompt=["fever", "cough"], max_tokens=4, logprobs=2)
    assert len(text.choices) == 2 and len(text.choices[0].logprobs.tokens) <= 4
    scored = client.chat.completions.create(**PLAIN, logprobs=True, top_logprobs=3)
    assert all(len(t.top_logprobs) == 3 and t.logprob <= 0 for t in scored.choices[0].logprobs.content)


def streams():
    whole = client.chat.completions.create(**PLAIN).choices[0].message.content
    chunks = list(client.chat.completions.create(**PLAIN, stream=True, stream_options={"include_usage": True}))
    assert "".join(c.choices[0].delta.content or "" for c in chunks if c.choices) == whole
    assert chunks[-1].usage.completion_tokens > 0 and not chunks[-1].choices
    assert chunks[-2].choices[0].finish_reason in ("stop", "length")
    text = list(client.completions.create(model="tiny", prompt="hi", max_tokens=4, stream=True))
    assert text[-1].choices[0].finish_reason
    with client.chat.completions.create(**{**PLAIN, "max_tokens": 200}, stream=True) as stream:
        next(iter(stream))  # and goes away


def tools():
    asked = {**PLAIN, "max_tokens": 200, "tools": [TOOL], "tool_choice": "required"}
    choice = client.chat.completions.create(**asked).choices[0]
    assert choice.finish_reason == "tool_calls", choice
    call = choice.message.tool_calls[0]
    assert call.function.name == "admit"
    assert json.loads(call.function.arguments)["ward"] in ("A", "B")
    name, arguments = "", ""
    for chunk in client.chat.completions.create(**asked, stream=True):
        for part in chunk.choices[0].delta.tool_calls or []:
            name += part.function.name or ""
            arguments += part.function.arguments or ""
    assert (name, arguments) == (call.function.name, call.function.arguments)
    told = QUESTION + [choice.message, {"role": "tool", "tool_call_id": call.id, "content": "admitted"}]
    assert client.chat.completions.create(**{**PLAIN, "messages": told, "tools": [TOOL]}).choices


def json_schema():
    form = {"type": "json_schema", "json_schema": {"name": "finding", "schema": SCHEMA, "strict": True}}
    for seed in range(1, 6):
        asked = {**PLAIN, "seed": seed, "temperature": 1, "max_tokens": 200, "response_format": form}
        finding = json.loads(client.chat.completions.create(**asked).choices[0].message.content)
        assert set(finding) == {"fever", "ward"} and isinstance(finding["fever"], bool)


def embeddings():
    # The package asks for base64 and decodes it by itself.
    data = client.embeddings.create(model="tiny", input=["fever", "cough"]).data
    assert len(data) == 2 and abs(sum(x * x for x in data[0].embedding) - 1) < 1e-3


def errors():
    ask = client.chat.completions.create
    expect(openai.NotFoundError, 404, lambda: ask(**{**PLAIN, "model": "gpt-4"}), "model_not_found")
    expect(openai.BadRequestError, 400, lambda: ask(**{**PLAIN, "temperature": 9}))
    image = [{"role": "user", "content": [{"type": "image_url", "image_url": {"url": "data:image/png;base64,AA=="}}]}]
    wrong = expect(openai.BadRequestError, 400, lambda: ask(**{**PLAIN, "messages": image}), "vision_not_supported")
    assert wrong.param == "messages[0].content[0]"
    stranger = openai.OpenAI(api_key="sk-wrong", max_retries=0)
    expect(openai.AuthenticationError, 401, lambda: stranger.chat.completions.create(**PLAIN), "invalid_api_key")
    poor = openai.OpenAI(api_key=os.environ["FEDGLM_POOR_KEY"], max_retries=0)
    poor.models.list()
    limited = expect(openai.RateLimitError, 429, lambda: poor.models.list(), "rate_limit_exceeded")
    assert int(limited.response.headers["retry-after"]) > 0


for test in (models, answers, streams, tools, json_schema, embeddings, errors):
    test()
    print(f"python openai {openai.__version__}: {test.__name__} ok")
