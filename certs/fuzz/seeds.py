#!/usr/bin/env python3
"""Writes the test vectors as seeds into corpus/<target>/."""
import hashlib
import json
import pathlib

here = pathlib.Path(__file__).resolve().parent
vectors = here.parent / "tests" / "vectors"
targets = {1: "root", 2: "certificate", 3: "delta", 4: "snapshot", 5: "heartbeat"}
count = 0


def seed(target, data):
    global count
    folder = here / "corpus" / target
    folder.mkdir(parents=True, exist_ok=True)
    (folder / hashlib.sha256(data).hexdigest()[:16]).write_bytes(data)
    count += 1


def wires(case):
    yield from case.get("chain", []) if isinstance(case.get("chain"), list) else []
    yield from case.get("log", [])
    yield from (case[name] for name in ("wire", "offered") if name in case)


for file in ("root", "certificate", "log"):
    for case in json.loads((vectors / f"{file}.json").read_text())["cases"]:
        for wire in map(bytes.fromhex, wires(case)):
            seed("state", wire)
            if len(wire) > 1 and wire[1] in targets:
                seed(targets[wire[1]], wire)
for case in json.loads((vectors / "ticket.json").read_text())["cases"]:
    seed("ticket", case["text"].encode())
print(f"{count} seeds")
