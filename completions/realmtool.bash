# SPDX-License-Identifier: BSD-3-Clause
# shellcheck shell=bash
#
# Completion of realmtool and lkvm for bash: "realmtool completion words" says what can stand there.

_realmtool()
{
	local line=${COMP_LINE:0:COMP_POINT} words=() word i cut=
	local cur prefix nospace=1 answer

	# bash splits words at "=" and ":", which belong to ours: join what has no blank between
	for ((i = 0; i <= COMP_CWORD; i++)); do
		word=${COMP_WORDS[i]}
		if [[ ! ${words[*]} || $line == [[:blank:]]* ]]; then
			line=${line#"${line%%[![:blank:]]*}"}
			words+=("")
		fi
		((i < COMP_CWORD)) || word=$line
		words[-1]+=$word
		line=${line#"$word"}
	done
	cur=${words[-1]}
	words[0]=${words[0]/#"~/"/$HOME/}

	# of the word, readline replaces only what stands behind the last of these
	[[ $COMP_WORDBREAKS != *=* || $cur != *=* ]] || cut=${cur%"${cur##*=}"}
	[[ $COMP_WORDBREAKS != *:* || ${cur#"$cut"} != *:* ]] || cut=${cur%"${cur##*:}"}
	[[ $COMP_WORDBREAKS != *@* || ${cur#"$cut"} != *@* ]] || cut=${cur%"${cur##*@}"}

	COMPREPLY=()
	while IFS= read -r answer; do
		case $answer in
		$'\tfiles '* | $'\tfolders '*)
			prefix=${answer#*' '}
			compopt -o filenames 2>/dev/null
			if [[ $answer == $'\tfiles '* ]]; then
				mapfile -t words < <(compgen -f -- "${cur#"$prefix"}")
			else
				mapfile -t words < <(compgen -d -- "${cur#"$prefix"}")
			fi
			for word in "${words[@]}"; do
				word=$prefix$word
				COMPREPLY+=("${word#"$cut"}")
				nospace=
			done
			;;
		*)
			word=${answer%%$'\t'*}
			[[ $word == *[=:@,] ]] || nospace=
			COMPREPLY+=("${word#"$cut"}")
			;;
		esac
	done < <("${words[0]}" completion words -- "${words[@]:1}" 2>/dev/null)
	[[ ! $nospace || ! ${COMPREPLY[*]} ]] || compopt -o nospace 2>/dev/null
}

complete -F _realmtool realmtool lkvm
