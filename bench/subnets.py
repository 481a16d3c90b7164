#!/usr/bin/env python3
"""Makes a subnet list longer: its networks, their halves, halved again, until there are as many as wanted.

    bench/subnets.py LIST.csv 17000 > LONGER.csv
"""

import ipaddress
import sys


def longer(lines, wanted):
    """`lines` without the header, each beginning with a prefix and a comma."""
    seen = {line.split(",", 1)[0] for line in lines}
    queue = list(lines)
    for line in queue:
        prefix, rest = line.split(",", 1)
        for half in ipaddress.ip_network(prefix).subnets():
            if len(lines) >= wanted:
                return lines
            if str(half) not in seen:
                seen.add(str(half))
                lines.append(f"{half},{rest}")
                queue.append(lines[-1])
    return lines


source, wanted = sys.argv[1:]
with open(source, encoding="utf-8") as file:
    header, *networks = [line.rstrip("\n") for line in file if not line.startswith("#")]
print("\n".join([header, *longer(networks, int(wanted))]))
