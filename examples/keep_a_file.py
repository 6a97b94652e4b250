#!/usr/bin/env python3
"""Stores a file at the agent and reads it back. Usage: keep_a_file.py URL FILE"""
import pathlib
import sys
import urllib.parse
import urllib.request

proxy, path = sys.argv[1].rstrip("/"), pathlib.Path(sys.argv[2])
url = f"{proxy}/api/files/{urllib.parse.quote(path.name)}"
content = path.read_bytes()
urllib.request.urlopen(urllib.request.Request(url, data=content, method="PUT")).read()
kept = urllib.request.urlopen(url).read()
if kept != content:
    sys.exit("what came back is not what was stored")
print(f"{url} holds {len(kept)} bytes")
