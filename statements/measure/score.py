#!/usr/bin/env python3
"""Runs the catalogue over exported flows and counts the hosts found and the hosts accused wrongly.

    statements/measure/score.py FLOWS.csv|FLOWS.parquet LABELS.json [--flow-cep PATH] [--verbose] [--without PREFIX,..]

Recall is of the hosts that a rule should report; precision counts as right every host that takes part in an attack.
"""
import argparse
import json
import pathlib
import subprocess
import tempfile

STATEMENTS = pathlib.Path(__file__).resolve().parent.parent
SCHEMA = STATEMENTS.parent / "adapters/flow-cep-cli/schemas/flow.toml"
SHOWN = ("top_", "highest_", "lowest_", "flows_per", "bandwidth_per")


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("flows")
    parser.add_argument("labels")
    parser.add_argument("--flow-cep", default=STATEMENTS.parent / "target/release/flow-cep")
    parser.add_argument("--verbose", action="store_true", help="name the hosts that are missed and accused")
    arguments = parser.parse_args()
    labels = json.load(open(arguments.labels))
    guilty = set(labels["guilty"])
    with tempfile.TemporaryDirectory() as folder:
        text = "".join(path.read_text() for path in sorted(STATEMENTS.glob("*.epl")) if not path.name.startswith(SHOWN))
        rules, out = pathlib.Path(folder, "rules.epl"), pathlib.Path(folder, "rows.jsonl")
        rules.write_text(text)
        subprocess.run([arguments.flow_cep, "replay", "--schema", SCHEMA, "--epl", rules, "--events", arguments.flows, "--out", out], check=True)
        accused, events = {}, {}
        for line in open(out):
            line = json.loads(line)
            row = line.get("row")
            if not row or line["s"].startswith("stmt-"):
                continue
            host = row.get("src_addr") or row.get("dst_addr")
            accused.setdefault(line["s"], set()).add(host)
            events[line["s"]] = events.get(line["s"], 0) + 1
    print(f"{'rule':<22} {'labelled':>8} {'found':>6} {'recall':>7} {'accused':>8} {'wrongly':>8} {'precision':>9} {'events':>7}")
    everywhere = set().union(*accused.values()) if accused else set()
    for rule in sorted(set(labels["found_by"]) | set(accused)):
        labelled, hosts = set(labels["found_by"].get(rule, ())), accused.get(rule, set())
        found, wrong = labelled & hosts, hosts - guilty
        recall = f"{len(found) / len(labelled):.2f}" if labelled else "-"
        precision = f"{1 - len(wrong) / len(hosts):.2f}" if hosts else "-"
        print(f"{rule:<22} {len(labelled):>8} {len(found):>6} {recall:>7} {len(hosts):>8} {len(wrong):>8} {precision:>9} {events.get(rule, 0):>7}")
        if arguments.verbose and (labelled - hosts or wrong):
            print("    missed", sorted(labelled - hosts), "wrongly", sorted(wrong)[:12])
    culprits = set().union(*map(set, labels["found_by"].values())) if labels["found_by"] else set()
    print(f"all rules together: {len(culprits & everywhere)} of {len(culprits)} hosts found, {len(everywhere - guilty)} accused wrongly")


if __name__ == "__main__":
    main()
