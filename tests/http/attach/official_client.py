"""What the official client of the OpenAI API makes of a box behind a gateway.

Runs with the URL of the gateway, a bearer, and the names of commands that its parent obeys: each is
written to standard output, and answered with a line on standard input.
"""

import sys

import openai

URL, BEARER = sys.argv[1:]


def ask(command):
    print(command, flush=True)
    return sys.stdin.readline().strip()


client = openai.OpenAI(base_url=f"{URL}/v1", api_key=BEARER)
messages = [{"role": "user", "content": "hi"}]


def stream(**more):
    return client.chat.completions.create(model="tiny", messages=messages, stream=True, **more)


# Models, and an answer in one piece.
assert [model.id for model in client.models.list()] == ["tiny"]
whole = client.chat.completions.create(model="tiny", messages=messages, max_tokens=3)
assert whole.choices[0].message.content == "t0 t1 t2 ", whole

# A stream to its end.
words = [chunk.choices[0].delta.content for chunk in stream(max_tokens=4)]
assert words == ["t0 ", "t1 ", "t2 ", "t3 "], words

# A stream that is left early.
endless = stream()
for chunk in endless:
    if chunk.choices[0].delta.content == "t5 ":
        break
endless.close()
assert ask("left") == "ended"

# Errors with their names.
try:
    client.chat.completions.create(model="none", messages=messages)
    raise SystemExit("no error")
except openai.NotFoundError as error:
    assert error.code == "model_not_found", error.body
    assert (error.body["kind"], error.body["executed"]) == ("NoNode", "No"), error.body
try:
    openai.OpenAI(base_url=f"{URL}/v1", api_key="erbc_wrong").models.list()
    raise SystemExit("no error")
except openai.AuthenticationError as error:
    assert error.body["kind"] == "Unauthenticated", error.body

# A box that is killed before its answer: named, and not asked again.
try:
    ask("kill before")
    client.chat.completions.create(model="tiny", messages=messages)
    raise SystemExit("no error")
except openai.InternalServerError as error:
    assert (error.body["kind"], error.body["executed"]) == ("NodeLost", "Maybe"), error.body
    assert error.body["node"] == "box-1", error.body

# A box that is killed within its answer.
assert ask("another") == "attached"
try:
    for n, chunk in enumerate(stream()):
        if n == 2:
            ask("kill")
    raise SystemExit("no error")
except openai.APIError as error:
    assert (error.body["kind"], error.body["executed"]) == ("NodeLost", "Yes"), error.body
    assert error.code == "node_lost", error.body
print("done", flush=True)
