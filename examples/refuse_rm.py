#!/usr/bin/env python3
"""A hook for the agent: refuses every call of the tool shell that runs rm.

In homing.toml:

    [[hooks]]
    on = "before_tool_call"
    command = ["/usr/local/bin/refuse_rm.py"]
    tools = ["shell"]

It reads one JSON document. Exit code 0 without a word lets the call go on to where the policy sends it;
exit code 2 refuses it, with the first line of standard error as the reason for the model.
"""

import json
import os
import re
import sys


def words(arguments):
    """The words of a call: its argv, or a line for /bin/sh in pieces."""
    argv = arguments.get("argv")
    if argv is not None:
        return argv
    return re.split(r"[\s;&|(){}`$'\"]+", arguments.get("command", ""))


def main():
    call = json.load(sys.stdin)
    if any(os.path.basename(word) == "rm" for word in words(call["arguments"])):
        print("rm is not run here; move things to a folder named trash", file=sys.stderr)
        return 2
    return 0


sys.exit(main())
