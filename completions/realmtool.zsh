#compdef realmtool lkvm
# SPDX-License-Identifier: BSD-3-Clause
#
# Completion of realmtool and lkvm for zsh: "realmtool completion words" says what can stand there.

_realmtool()
{
	local answer word help prefix glob
	local -a ended open

	while IFS= read -r answer; do
		case $answer in
		($'\tfiles '*|$'\tfolders '*)
			prefix=${answer#*' '}
			glob=
			[[ $answer == $'\tfiles '* ]] || glob=-/
			_realmtool_files "$prefix" $glob
			;;
		(*)
			word=${answer%%$'\t'*}
			help=${answer#*$'\t'}
			[[ $answer == *$'\t'* ]] || help=
			word=${word//:/\\:}${help:+:$help}
			if [[ ${answer%%$'\t'*} == *[=:@,] ]]; then
				open+=("$word")
			else
				ended+=("$word")
			fi
			;;
		esac
	done < <("${(Q)words[1]/#\~\//$HOME/}" completion words -- \
		"${(Q@)words[2,CURRENT-1]}" "$PREFIX" 2>/dev/null)
	(( ! $#ended )) || _describe -t values value ended
	(( ! $#open )) || _describe -t values value open -S ''
}

# Paths behind what stays of the word.
_realmtool_files()
{
	local PREFIX=$PREFIX IPREFIX=$IPREFIX

	compset -p ${#1}
	_files $2
}

if [[ $funcstack[1] == _realmtool ]]; then
	_realmtool "$@"
else
	compdef _realmtool realmtool lkvm
fi
