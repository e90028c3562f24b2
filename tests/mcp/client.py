"""The protocol's own client, as `tests/mcp/python.rs` drives it.

    client.py CONFIG SCENARIO

CONFIG is JSON: `mode` of the client, and either `url` and `bearer`, or `command`. What happens is
written as JSON lines; a line on standard input lets a scenario go on.
"""

import asyncio
import json
import sys
import time

import httpx2
from jsonschema import Draft202012Validator
from mcp import Client, MCPError, StdioServerParameters
from mcp.client.streamable_http import streamable_http_client


def say(**what):
    print(json.dumps(what), flush=True)


async def told():
    return await asyncio.to_thread(sys.stdin.readline)


def shown(result):
    return {"error": result.is_error, "content": result.structured_content}


async def tour(client):
    tools = (await client.list_tools()).tools
    for tool in tools:
        Draft202012Validator.check_schema(tool.input_schema)
        Draft202012Validator.check_schema(tool.output_schema)
    say(tools=[tool.name for tool in tools], protocol=client.protocol_version)
    for name, arguments in [
        ("add", {"a": 1, "b": 2}),
        ("divide", {"a": 1, "b": 0}),
        ("add", {"a": 1}),
        ("Model.v1-small.layers", {}),
        ("parsed", {"texts": ["1", "x"]}),
        ("forever", {}),
    ]:
        say(call=name, **shown(await client.call_tool(name, arguments)))
    try:
        await client.call_tool("hidden", {})
    except MCPError as error:
        say(refused=error.error.code, data=error.error.data)


async def items(client):
    gates = json.loads(await told())

    async def progress(count, total, message):
        say(progress=count, item=json.loads(message))

    arguments = {"to": len(gates), "gates": gates}
    result = await client.call_tool("count", arguments, progress_callback=progress)
    say(call="count", **shown(result))


async def cancel(client):
    await client.list_tools()
    for tool in ["nap", "quiet"]:
        key = json.loads(await told())
        call = asyncio.create_task(client.call_tool(tool, {"key": key}))
        await told()
        say(cancelled=time.time())
        call.cancel()
        await asyncio.gather(call, return_exceptions=True)
    say(call="add", **shown(await client.call_tool("add", {"a": 1, "b": 2})))


async def stay(client):
    key = json.loads(await told())
    await client.call_tool("nap", {"key": key})


async def echo(client):
    tools = {tool.name: tool for tool in (await client.list_tools()).tools}
    check = Draft202012Validator(tools["echo"].input_schema)
    same = 0
    while line := (await told()).strip():
        arguments = json.loads(line)
        check.validate(arguments)
        # The client checks the result with the output schema.
        result = await client.call_tool("echo", arguments)
        expected = {"result": [arguments["thing"], arguments["also"]]}
        assert result.structured_content == expected, (arguments, result)
        for broken in broken_forms(arguments):
            if not check.is_valid(broken):
                refused = await client.call_tool("echo", broken)
                assert refused.structured_content["kind"] == "BadArguments", (broken, refused)
                assert refused.structured_content["executed"] == "No", (broken, refused)
        same += 1
    say(same=same)


def broken_forms(arguments):
    """What a model may get wrong."""
    thing = arguments["thing"]
    yield {**arguments, "other": 1}
    yield {key: value for key, value in arguments.items() if key != "thing"}
    yield {**arguments, "thing": {**thing, "name": 7}}
    yield {**arguments, "thing": {key: value for key, value in thing.items() if key != "tags"}}
    yield {**arguments, "thing": {**thing, "tags": [{"Unknown": 1}]}}
    yield {**arguments, "thing": {**thing, "size": -1}}


async def main(config, scenario):
    async with connected(config) as client:
        say(connected=client.protocol_version)
        await scenario(client)


def connected(config):
    if "url" in config:
        http = httpx2.AsyncClient(
            headers={"Authorization": f"Bearer {config['bearer']}"}, timeout=httpx2.Timeout(60)
        )
        transport = streamable_http_client(config["url"], http_client=http)
        return Client(transport, mode=config["mode"])
    command, *words = config["command"]
    return Client(StdioServerParameters(command=command, args=words), mode=config["mode"])


if __name__ == "__main__":
    scenarios = {function.__name__: function for function in [tour, items, cancel, stay, echo]}
    asyncio.run(main(json.loads(sys.argv[1]), scenarios[sys.argv[2]]))
