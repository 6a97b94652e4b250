"""An MCP server that does what it is told, also what no server should do.

Speaks newline-delimited JSON-RPC on stdio. Flags on the command line choose how it greets and what it
offers; its tools do the rest.
"""

import json
import os
import subprocess
import sys
import threading
import time

FLAGS = dict(flag.split("=", 1) if "=" in flag else (flag, "") for flag in sys.argv[1:])
LOCK = threading.Lock()
VERSION = FLAGS.get("version", "2025-06-18")
TOOLS = ["echo", "pid", "env", "crash", "hang", "sleep", "huge", "fail", "grow", "blocks", "leak"]


def send(message):
    text = json.dumps({"jsonrpc": "2.0", **message}, separators=(",", ":"))
    with LOCK:
        sys.stdout.write(text + "\n")
        sys.stdout.flush()


def say(text):
    sys.stderr.write(text + "\n")
    sys.stderr.flush()


def tool(name):
    read_only = name in ("echo", "pid")
    return {
        "name": name,
        "description": "does " + name,
        "inputSchema": {"type": "object", "properties": {}},
        "annotations": {"readOnlyHint": read_only},
    }


def listing(params):
    tools = [tool(name) for name in TOOLS]
    if "many" in FLAGS:
        tools = [tool("tool%d" % number) for number in range(int(FLAGS["many"]))]
    if "schema" in FLAGS:
        long = tool("long")
        long["inputSchema"]["description"] = "x" * int(FLAGS["schema"])
        tools.append(long)
    page = int(FLAGS.get("page", "0"))
    if "endless" in FLAGS:
        return {"tools": [tool("again")], "nextCursor": "more"}
    if not page:
        return {"tools": tools}
    start = int((params or {}).get("cursor", "0"))
    result = {"tools": tools[start : start + page]}
    if start + page < len(tools):
        result["nextCursor"] = str(start + page)
    return result


def text(value, **more):
    return {"content": [{"type": "text", "text": value}], **more}


def call(identity, params):
    name, arguments = params["name"], params.get("arguments") or {}
    if name == "echo":
        answer = text(json.dumps(arguments))
    elif name == "pid":
        answer = text(str(os.getpid()))
    elif name == "env":
        answer = text(json.dumps(dict(os.environ)))
    elif name == "crash":
        say("about to crash")
        os._exit(3)
    elif name == "hang":
        say("hanging in %s" % identity)
        return
    elif name == "sleep":
        time.sleep(arguments["seconds"])
        answer = text("slept")
    elif name == "huge":
        answer = text("x" * arguments["bytes"])
    elif name == "fail":
        answer = text("it went wrong", isError=True)
    elif name == "grow":
        TOOLS.append(arguments["name"])
        send({"method": "notifications/tools/list_changed"})
        answer = text("grown")
    elif name == "blocks":
        image = {"type": "image", "data": "aGVsbG8=", "mimeType": "image/png"}
        answer = {"content": [image], "structuredContent": {"a": 1}}
    elif name == "leak":
        answer = text("the key is " + os.environ.get("API_KEY", ""))
        say("the key is " + os.environ.get("API_KEY", ""))
    else:
        send({"id": identity, "error": {"code": -32602, "message": "no tool " + name}})
        return
    send({"id": identity, "result": answer})


def answer(message):
    method, identity, params = message.get("method"), message.get("id"), message.get("params")
    say("got %s" % method)
    info = {"name": "scripted", "version": FLAGS.get("build", "1")}
    capabilities = {"tools": {"listChanged": True}}
    if method == "initialize" and "modern" not in FLAGS:
        result = {"protocolVersion": VERSION, "capabilities": capabilities, "serverInfo": info}
        send({"id": identity, "result": result})
    elif method == "server/discover" and "modern" in FLAGS:
        meta = {"io.modelcontextprotocol/serverInfo": info}
        versions = {"supportedVersions": ["2026-07-28"], "capabilities": capabilities}
        caching = {"resultType": "complete", "ttlMs": 0, "cacheScope": "private"}
        send({"id": identity, "result": {"_meta": meta, **caching, **versions}})
    elif method == "server/discover" and "dies" in FLAGS:
        os._exit(4)
    elif method == "server/discover" and "mute" in FLAGS:
        pass
    elif method == "tools/list":
        if "broken-list" in FLAGS:
            send({"id": identity, "error": {"code": -32000, "message": "no list today"}})
        else:
            send({"id": identity, "result": listing(params)})
    elif method == "tools/call":
        threading.Thread(target=call, args=(identity, params), daemon=True).start()
    elif method == "ping":
        send({"id": identity, "result": {}})
    elif method == "notifications/cancelled":
        say("cancelled %s" % params.get("requestId"))
    elif identity is not None:
        send({"id": identity, "error": {"code": -32601, "message": "no method " + str(method)}})


def flood():
    while True:
        sys.stdout.write("this is not MCP\n" * 100)


def main():
    if "note" in FLAGS:
        with open(FLAGS["note"], "a") as note:
            note.write("%d\n" % os.getpid())
    if "child" in FLAGS:
        # Of the same group, deaf to its end, and the holder of our pipes.
        child = subprocess.Popen(["sleep", "1000"], stdin=subprocess.DEVNULL)
        with open(FLAGS["child"], "a") as note:
            note.write("%d\n" % child.pid)
    if "exits" in FLAGS:
        say("exiting at once")
        sys.exit(5)
    if "flood" in FLAGS:
        flood()
    for number in range(int(FLAGS.get("garbage", "0"))):
        print("garbage %d {" % number, flush=True)
    for line in sys.stdin:
        if "garbage" in FLAGS:
            print("more garbage", flush=True)
        answer(json.loads(line))
    while "stays" in FLAGS:
        time.sleep(1)


main()
