"""Calls the functions of the quickstart with a generated client.

The address and the bearer are in `URL` and `BEARER`.
"""

import json
import os

from quickstart_client import AuthenticatedClient
from quickstart_client.api.calls import call_add, call_divide
from quickstart_client.api.gateway import health, list_functions
from quickstart_client.api.jobs import job_result, job_status, list_jobs, submit_add
from quickstart_client.api.streams import open_stream_squares, stream_squares, stream_ticks
from quickstart_client.models import (
    AddArguments,
    DivideArguments,
    DivideProblem,
    Duration,
    Problem,
    SquaresArguments,
    TicksArguments,
)

client = AuthenticatedClient(base_url=os.environ["URL"], token=os.environ["BEARER"])


def items(text):
    """The items of a stream, which must have ended well."""
    lines = [json.loads(line) for line in text.splitlines()]
    assert lines[-1] == {"end": {"items": len(lines) - 1}}, lines
    return [line["item"] for line in lines[:-1]]


assert health.sync(client=client).status == "serving"
assert len(list_functions.sync(client=client)) == 4

assert call_add.sync(client=client, body=AddArguments(a=1, b=2)) == 3
assert call_add.sync(client=client, body=AddArguments(a=1, b=2), easyremote_timeout="30s") == 3
assert call_divide.sync(client=client, body=DivideArguments(a=1.0, b=4.0)) == 0.25
refused = call_divide.sync_detailed(client=client, body=DivideArguments(a=1.0, b=0.0))
assert refused.status_code == 422
problem = refused.parsed
assert isinstance(problem, DivideProblem), problem
assert (problem.kind, problem.executed, problem.error) == ("Function", "Yes", None)
wrong = call_add.sync_detailed(client=client, body=AddArguments(a="one", b=2))
assert wrong.status_code == 400, wrong
assert isinstance(wrong.parsed, Problem) and wrong.parsed.kind == "BadArguments", wrong
stranger = AuthenticatedClient(base_url=os.environ["URL"], token="none")
denied = call_add.sync_detailed(client=stranger, body=AddArguments(a=1, b=2))
assert denied.status_code == 401 and denied.parsed.kind == "Unauthenticated", denied

squares = stream_squares.sync(client=client, body=SquaresArguments(n=5))
assert items(squares) == [1, 4, 9, 16, 25]
squares = stream_squares.sync(client=client, body=SquaresArguments(n=5), skip=1, every=2)
assert items(squares) == [4, 16], squares
squares = open_stream_squares.sync(client=client, arguments='{"n": 3}', take=2)
assert items(squares) == [1, 4]
again = open_stream_squares.sync_detailed(client=client, arguments="[3]", resume="1")
assert again.status_code == 400, again  # for events only, and this asks for lines
ticks = TicksArguments(every=Duration(secs=0, nanos=1_000_000))
assert items(stream_ticks.sync(client=client, body=ticks, take=3)) == [0, 1, 2]

job = submit_add.sync(client=client, body=AddArguments(a=20, b=22))
assert job_result.sync(client=client, id=job.id) == 42
assert job_status.sync(client=client, id=job.id).function == "add"
assert [listed.id for listed in list_jobs.sync(client=client)] == [job.id]
