# SPDX-License-Identifier: BSD-3-Clause
# shellcheck shell=bash
# Results as JUnit XML, for CI systems. Sourced, never run.

JUNIT_CASES=()

# stdin as XML: without the terminal's escapes, control characters, and bytes that may be no UTF-8
xml_text()
{
	LC_ALL=C sed 's/\x1b\[[0-9;?]*[A-Za-z]//g' | LC_ALL=C tr -cd '\11\12\40-\176' |
		sed 's/&/\&amp;/g; s/</\&lt;/g; s/>/\&gt;/g; s/"/\&quot;/g'
}

# junit_case NAME SECONDS passed|failed|error|skipped [MESSAGE]
junit_case()
{
	JUNIT_CASES+=("$1"$'\t'"$2"$'\t'"$3"$'\t'"${4:-}")
}

# junit_write FILE SUITE SECONDS [LOG]: the cases so far; the end of LOG as the suite's output
junit_write()
{
	local file=$1 suite=$2 time=$3 log=${4:-} c name t state msg
	local n=${#JUNIT_CASES[@]} failures=0 errors=0 skipped=0

	for c in "${JUNIT_CASES[@]}"; do
		IFS=$'\t' read -r name t state msg <<<"$c"
		case $state in
		failed) failures=$((failures + 1)) ;;
		error) errors=$((errors + 1)) ;;
		skipped) skipped=$((skipped + 1)) ;;
		esac
	done
	mkdir -p "$(dirname "$file")"
	{
		echo '<?xml version="1.0" encoding="UTF-8"?>'
		printf '<testsuites>\n<testsuite name="%s" tests="%d" failures="%d" errors="%d" skipped="%d" time="%s">\n' \
			"$(xml_text <<<"$suite")" "$n" "$failures" "$errors" "$skipped" "$time"
		for c in "${JUNIT_CASES[@]}"; do
			IFS=$'\t' read -r name t state msg <<<"$c"
			name=$(xml_text <<<"$name")
			msg=$(xml_text <<<"$msg")
			printf '<testcase classname="%s" name="%s" time="%s"' \
				"$(xml_text <<<"$suite")" "$name" "$t"
			case $state in
			failed) printf '><failure message="%s"/></testcase>\n' "$msg" ;;
			error) printf '><error message="%s"/></testcase>\n' "$msg" ;;
			skipped) printf '><skipped message="%s"/></testcase>\n' "$msg" ;;
			*) printf '/>\n' ;;
			esac
		done
		if [ -n "$log" ] && [ -e "$log" ]; then
			echo '<system-out>'
			tail -n 200 "$log" | xml_text
			echo '</system-out>'
		fi
		echo '</testsuite>'
		echo '</testsuites>'
	} >"$file.tmp"
	mv "$file.tmp" "$file"
}
