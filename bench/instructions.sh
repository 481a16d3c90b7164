#!/bin/sh
# Instructions a record of each way to decode, by valgrind: what other work on the machine cannot disturb.
#
#     cargo build --release && ./instructions.sh [BINARY]
#
# A count of few passes is taken off one of many, so that start and first touches are not in it.
set -eu
binary=${1:-$(dirname "$0")/target/release/codec-bench}
few=20 many=120

# Instructions and records of a run.
count() {
    valgrind --tool=callgrind --callgrind-out-file=/dev/null "$binary" "$1" "$2" "$3" 2>&1 |
        awk '/Collected/ { instructions = $NF } / records$/ { records = $(NF - 1) } END { print instructions, records }'
}

for input in v5 v9 IPFIX; do
    for way in "no field" "column at a time" "record by record" "flow of v5" "all columns"; do
        echo "$(count "$input" "$way" $few) $(count "$input" "$way" $many)" |
            awk -v input="$input" -v way="$way" 'NF == 4 && $4 > $2 { printf "%-6s %-18s %8.1f\n", input, way, ($3 - $1) / ($4 - $2) }'
    done
done
