#!/bin/sh
# Adapts, validates and format-checks every Caddyfile of the repository with the given binary.
set -eu
bin=$1
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT
export DATA_DIR="$scratch/data" XDG_DATA_HOME="$scratch/xdg" XDG_CONFIG_HOME="$scratch/xdg"

find . -type d \( -name .git -o -name node_modules -o -name testdata -o -name bin -o -name .cache -o -name data \) -prune -o \
	-type f \( -name 'Caddyfile*' -o -name '*.caddyfile' \) -print | sort >"$scratch/files"
failed=0
while read -r file; do
	ok=1
	for step in adapt validate fmt; do
		case $step in
		fmt) set -- fmt "$file" ;;
		*) set -- "$step" --adapter caddyfile --config "$file" ;;
		esac
		if ! "$bin" "$@" >"$scratch/out" 2>"$scratch/err" </dev/null; then
			ok=0
			echo "$file: $step failed"
			tail -n 5 "$scratch/err"
		fi
	done
	if [ $ok = 1 ]; then echo "$file: ok"; else failed=1; fi
done <"$scratch/files"
exit $failed
