#!/usr/bin/env python3
"""Holds the licences that the packages in the lock file declare against the list in deny.toml.

It needs nothing but Python 3.11 and cargo, so it runs with every change; `cargo deny` also reads the licences' texts.
"""
import json
import re
import subprocess
import sys
import tomllib

with open("deny.toml", "rb") as file:
    allowed = set(tomllib.load(file)["licenses"]["allow"])


def is_allowed(expression):
    """An SPDX expression (the old `A/B` too): OR binds looser than AND, WITH belongs to its licence."""
    text = re.sub(r"\s+WITH\s+", "~", expression.replace("/", " OR "))
    words = iter(re.findall(r"[()]|[^\s()]+", text) + [None])
    word = next(words)

    def advance():
        nonlocal word
        word = next(words)

    def one():
        if word == "(":
            advance()
            result = either()
        else:
            result = word is not None and word.replace("~", " WITH ") in allowed
        advance()
        return result

    def both():
        result = one()
        while word == "AND":
            advance()
            result = one() and result
        return result

    def either():
        result = both()
        while word == "OR":
            advance()
            result = both() or result
        return result

    return either() and word is None


command = ["cargo", "metadata", "--format-version=1", "--locked", "--all-features"]
packages = json.loads(subprocess.run(command, check=True, stdout=subprocess.PIPE).stdout)["packages"]
refused = [p for p in packages if not is_allowed(p["license"] or "none")]
for package in refused:
    print(f"{package['name']} {package['version']}: licence {package['license']!r} is not allowed by deny.toml", file=sys.stderr)
sys.exit(bool(refused))
