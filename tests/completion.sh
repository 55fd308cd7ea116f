#!/bin/bash
# SPDX-License-Identifier: BSD-3-Clause
#
# Shell completion, driven as the shells do it: completion.sh PROGRAM. The last line is "N passed, N
# failed[, N skipped]".

set -u
cd "$(dirname "$0")/.." || exit 1
program=$(realpath "${1:-./realmtool}") || exit 1
dir=$(mktemp -d) || exit 1
trap 'rm -rf "$dir"' EXIT
passed=0 failed=0 skipped=0

mkdir -p "$dir/bin" "$dir/home/.config/realmtool" "$dir/home/run" "$dir/work/images" "$dir/work/a dir"
ln -s "$program" "$dir/bin/realmtool"
ln -s "$program" "$dir/bin/lkvm"
touch "$dir/home/.config/realmtool/web.conf" "$dir/work/Image" "$dir/work/Image two" \
	"$dir/work/images/disk.img"
export HOME=$dir/home XDG_RUNTIME_DIR=$dir/home/run PATH=$dir/bin:$PATH
unset XDG_CONFIG_HOME

# shellcheck source=completions/realmtool.bash
source completions/realmtool.bash
cd "$dir/work" || exit 1

result()
{
	if [ "$1" = 0 ]; then
		passed=$((passed + 1))
		echo "ok - $2"
	else
		failed=$((failed + 1))
		echo "not ok - $2"
		[ $# -lt 3 ] || printf '%s\n' "${@:3}" | sed 's/^/# /'
	fi
}

# split LINE: COMP_WORDS as bash makes them, for words without quotes: at blanks, and around each
# run of "=" ":" "@"
split()
{
	local rest=$1 last=
	COMP_WORDS=()
	while [[ $rest ]]; do
		if [[ $rest =~ ^[[:blank:]]+ ]]; then
			last=blank
		elif [[ $rest =~ ^[=:@]+ ]] || [[ $rest =~ ^[^[:blank:]=:@]+ ]]; then
			COMP_WORDS+=("${BASH_REMATCH[0]}")
			last=
		fi
		rest=${rest:${#BASH_REMATCH[0]}}
	done
	# behind a separator an empty word begins
	if [[ $last == blank ]]; then
		COMP_WORDS+=("")
	fi
	COMP_CWORD=$((${#COMP_WORDS[@]} - 1))
}

# what bash offers for LINE, sorted
bash_for()
{
	COMP_LINE=$1 COMP_POINT=${#1}
	split "$1"
	COMPREPLY=()
	_realmtool realmtool
	printf '%s\n' "${COMPREPLY[@]}" | sort
}

# expect LINE WORD...: these and no others
expect()
{
	local line=$1 got want
	shift
	got=$(bash_for "$line")
	want=$(printf '%s\n' "$@" | sort)
	[ "$got" = "$want" ]
	result $? "bash: \"$line\"" "expected: ${want//$'\n'/, }" "got: ${got//$'\n'/, }"
}

# has LINE WORD: it is among them
has()
{
	local got
	got=$(bash_for "$1")
	grep -qxF -e "$2" <<<"$got"
	result $? "bash: \"$1\" offers $2" "got: ${got//$'\n'/, }"
}

expect "realmtool ru" run
expect "realmtool me" measure metrics
expect "lkvm sto" stop
expect "realmtool nothing " ""
expect "realmtool help measu" measure
expect "realmtool completion " bash fish zsh
expect "realmtool run --real" --realm --realm= --realm-pv --realm-pv-hex
expect "realmtool run --realm=" emulated kvm
expect "realmtool run --realm=em" emulated
expect "realmtool run --realm --rea" --ready --realm-pv --realm-pv-hex
expect "realmtool run --no-rn" --no-rng
expect "realmtool run --irqchip " gicv3 gicv3-its
expect "realmtool run --loglevel=d" debug
expect "realmtool run -k Im" Image "Image two"
expect "realmtool run -kIm" -kImage "-kImage two"
expect "realmtool run --kernel=Im" Image "Image two"
expect "realmtool run --9p " "a dir" images dir= tag= ro socket=
expect "realmtool run --disk images/" images/disk.img
expect "realmtool run --disk images/disk.img,form" images/disk.img,format=
expect "realmtool run --disk=x,format=" qcow2 raw
expect "realmtool run -d path=images/" images/disk.img
expect "realmtool run --network mode=t" tap
expect "realmtool run --network mode=tap,mod" ""
expect "realmtool run --expect-rim @Image" Image "Image two"
expect "realmtool run --gdb unix:Image" Image "Image two"
expect "realmtool run we" web
expect "realmtool run -- --real" ""
expect "realmtool run --cpus " ""
expect "realmtool measure --cor" --corim
expect "realmtool measure --rmm " 1.0 2.0 tf-rmm
expect "realmtool config " check from-args show
expect "realmtool config show --m" --map
expect "realmtool config show we" web
expect "realmtool config from-args -- run --realm=k" kvm
expect "realmtool check --js" --json
expect "realmtool token images/" images/disk.img
expect "realmtool stop " ""
expect "realmtool sandbox --irqchip " gicv3 gicv3-its
expect "realmtool sandbox --realm -- Im" Image "Image two"
expect "realmtool sandbox -k Image ls --irq" ""
expect "realmtool sandbox -k Image ls im" images
has "realmtool run --host-profile " qemu-max
has "realmtool run --host-profile " Image
has "realmtool run " "Image two"
has "realmtool run --c" --cpus

# in the middle of a line only what stands before the cursor counts
COMP_LINE="realmtool run --irq gicv3" COMP_POINT=19 COMP_CWORD=2
COMP_WORDS=(realmtool run --irq gicv3)
COMPREPLY=()
_realmtool realmtool
[ "${COMPREPLY[*]}" = --irqchip ]
result $? "bash: the cursor in the middle of a line" "${COMPREPLY[*]}"

# every option that help knows is offered, and no other
for command in run measure check config token list stop pause resume console wait stat metrics \
	balloon debug; do
	"$program" help $command >"$dir/help" 2>/dev/null || continue
	[ $command != measure ] || "$program" help run >>"$dir/help"
	# a line per option that does something: two blanks, its letter, its name
	awk '
		function out() { if (name && !bad) print name }
		/^ +(-[A-Za-z].*, )?--[a-z0-9]/ {
			out(); bad = 0
			match($0, /--[a-z0-9-]+/); name = substr($0, RSTART, RLENGTH)
		}
		/Refused:|Accepted, without effect:/ { bad = 1 }
		END { out() }' "$dir/help" | sort -u >"$dir/want"
	bash_for "realmtool $command --" | grep -vE '=$|^--no-' | sort -u >"$dir/got"
	grep -v '^--no-' "$dir/want" | diff - "$dir/got" >"$dir/diff"
	rc=$?
	[ -s "$dir/want" ] || rc=1
	result $rc "all options of $command" "$(cat "$dir/diff")"
done

# words from outside are words, never commands
touch "$dir/work/\$(touch pwned)" "$dir/work/\`touch pwned\`"
bash_for "realmtool run -k " >/dev/null
bash_for 'realmtool run $(touch pwned) ' >/dev/null
bash_for "realmtool run '" >/dev/null
[ ! -e pwned ]
result $? "bash: nothing of the line or of file names is run"

for shell in bash zsh fish; do
	"$program" completion $shell | cmp - "$OLDPWD/completions/realmtool.$shell"
	result $? "completion $shell prints the script"
	if ! command -v $shell >/dev/null; then
		skipped=$((skipped + 1))
		echo "ok - $shell -n # SKIP no $shell here"
		continue
	fi
	$shell -n "$OLDPWD/completions/realmtool.$shell"
	result $? "$shell -n"
done
"$program" completion tcsh >/dev/null 2>&1
[ $? = 128 ]
result $? "completion refuses other shells"

# fish completes a line without a terminal
if command -v fish >/dev/null; then
	fish_for()
	{
		fish --no-config -c "source $OLDPWD/completions/realmtool.fish
			complete --do-complete '$1'" | sed 's/\t.*//' | sort | tr '\n' ' '
	}
	for t in "realmtool run --realm=|--realm=emulated --realm=kvm " \
		"realmtool run -d path=images/|path=images/disk.img " "realmtool me|measure metrics " \
		"realmtool run --irqchip |gicv3 gicv3-its "; do
		got=$(fish_for "${t%|*}")
		[ "$got" = "${t##*|}" ]
		result $? "fish: \"${t%|*}\"" "got: $got"
	done
fi

# zsh has its completion in an interactive shell only: one on a pseudo terminal of zsh's own
if command -v zsh >/dev/null; then
	cat >"$dir/drive" <<-'END'
		zmodload zsh/zpty
		zpty z "zsh -f -i"
		zpty -w z "bindkey -e; autoload -Uz compinit; fpath=($DIR/zsh \$fpath); compinit -u -D"
		zpty -w z "compadd() {
			local -a a; builtin compadd -O a \"\$@\"; print -rl -- \$a >>$DIR/out; builtin compadd \"\$@\" }"
		zpty -w z "zle -C list list-choices _main_complete; bindkey '^T' list; print re''ady"
		zpty -r -m z all "*ready*"
		zpty -w -n z "$LINE"$'\024'
		for ((i = 0; i < 100 && ! $(wc -c <$DIR/out); i++)) sleep 0.1
		sleep 0.5
		zpty -d z
	END
	# a shell with a terminal of its own; what it is offered goes to a file
	zsh_for()
	{
		: >"$dir/out"
		DIR=$dir LINE=$1 timeout 60 zsh -f "$dir/drive" >/dev/null 2>&1
		sort -u "$dir/out" | grep . | tr '\n' ' '
	}
	mkdir -p "$dir/zsh"
	cp "$OLDPWD/completions/realmtool.zsh" "$dir/zsh/_realmtool"
	for t in "realmtool run --realm=|--realm=emulated --realm=kvm " \
		"realmtool me|measure metrics " "realmtool run --irqchip |gicv3 gicv3-its "; do
		got=$(zsh_for "${t%|*}")
		[ "$got" = "${t##*|}" ]
		result $? "zsh: \"${t%|*}\"" "got: $got"
	done
fi

[ $skipped = 0 ] && echo "$passed passed, $failed failed" ||
	echo "$passed passed, $failed failed, $skipped skipped"
[ $failed = 0 ]
