#!/bin/sh
# Runs every fuzz target of the repository for the given time each, one after another.
set -eu
time=${1:-10s}
grep -rlE '^func Fuzz[A-Z]' --include='*_test.go' . | sort | while read -r file; do
	for target in $(sed -n 's/^func \(Fuzz[A-Za-z0-9_]*\)(.*/\1/p' "$file"); do
		echo "$file: $target"
		go test "$(dirname "$file")" -run '^$' -fuzz "^$target\$" -fuzztime "$time"
	done
done
