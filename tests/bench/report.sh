#!/bin/bash
# SPDX-License-Identifier: BSD-3-Clause
#
# The last part of "make bench": one page of what the others have measured, with plots. It needs no
# network and no scripts in the browser, and it can be sent as it is.
#
#   tests/bench/report.sh [FOLDER]    the folder of bench, bench-io and bench-vfio (default: build)
#
# What was not measured is left out. Result: FOLDER/bench/report.html

[ -n "${BASH_VERSION:-}" ] || exec bash "$0" "$@"
set -euo pipefail
HERE=$(cd "$(dirname "$0")" && pwd)
in=${1:-$HERE/../../build}

found=
for f in bench/raw.txt bench/native.txt bench-io/raw.txt bench-vfio/raw.txt; do
	[ ! -s "$in/$f" ] || found=1
done
if [ -z "$found" ]; then
	echo "$in has no results: run \"make bench\" first" >&2
	exit 1
fi
mkdir -p "$in/bench"
awk -v folder="$in" -f "$HERE/html.awk" >"$in/bench/report.html.tmp" </dev/null
mv "$in/bench/report.html.tmp" "$in/bench/report.html"
echo "with plots: ${in#"$PWD"/}/bench/report.html"
