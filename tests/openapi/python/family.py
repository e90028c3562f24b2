"""Calls functions of every kind with a generated client.

The address and the bearer are in `URL` and `BEARER`.
"""

import importlib
import io
import json
import os
import pkgutil

import family_client
from family_client import AuthenticatedClient, models
from family_client.api.calls import call_depth, call_model_set_up, call_model_small_set_up
from family_client.api.calls import call_nothing, call_shapes, call_total
from family_client.api.streams import open_stream_upto, stream_doubled, stream_upto
from family_client.types import File

client = AuthenticatedClient(base_url=os.environ["URL"], token=os.environ["BEARER"])

# All that was generated can be imported.
for module in pkgutil.walk_packages(family_client.__path__, "family_client."):
    importlib.import_module(module.name)


def tree(depth):
    children = [tree(depth - 1)] if depth > 1 else []
    return models.Tree(name=f"d{depth}", children=children)


def lines(*values):
    text = "".join(json.dumps(value) + "\n" for value in values)
    return File(payload=io.BytesIO(text.encode()))


def items(text):
    return [json.loads(line) for line in text.splitlines()]


assert call_depth.sync(client=client, body=models.DepthArguments(tree=tree(3))) == 3
refused = call_depth.sync(client=client, body=models.DepthArguments(tree=tree(1)))
assert isinstance(refused, models.DepthProblem) and refused.error == "Empty", refused
refused = call_depth.sync(client=client, body=models.DepthArguments(tree=tree(4)))
assert refused.error.too_deep.at == 3, refused

tagged = {"kind": "Text", "text": "x"}
shapes = ["Point", {"Circle": 1.5}, {"Named": {"label": "l", "at": [1, 2]}}]
body = models.ShapesArguments.from_dict({"shapes": shapes, "tagged": tagged, "loose": 3})
answer = call_shapes.sync_detailed(client=client, body=body)
assert json.loads(answer.content) == [shapes, tagged, 3], answer

settings = models.Settings(mode="x", big=2**64 - 1, small=-(2**63))
body = models.ModelSmallSetUpArguments(settings=settings, wide=2**100)
assert call_model_small_set_up.sync(client=client, body=body).big == 2**64 - 1
body = models.ModelSmallSetUpArguments(settings=settings, wide=0)
assert call_model_small_set_up.sync(client=client, body=body) is None
body = models.ModelSetUpArguments(settings=settings)
assert call_model_set_up.sync(client=client, body=body)[0].mode == "x"

assert call_nothing.sync_detailed(client=client).content == b"null"
assert call_total.sync(client=client, body=lines({"start": 10}, 1, 2, 3)) == 16
assert items(stream_doubled.sync(client=client, body=lines({}, 4, 200))) == [
    {"item": 8},
    {"error": "Empty"},
    {"end": {"items": 2}},
]
odd = stream_upto.sync(client=client, body=models.UptoArguments(n=6), through="odd")
assert [line.get("item") for line in items(odd)[:-1]] == [1, 3, 5]
refused = open_stream_upto.sync(client=client, arguments="[0]")
assert isinstance(refused, models.UptoProblem) and refused.error == "Empty", refused
