# SPDX-License-Identifier: BSD-3-Clause
#
# Completion of realmtool and lkvm for fish: "realmtool completion words" says what can stand there.

function __realmtool_complete
	set -l words (commandline -opc)
	set -l cur (commandline -ct)
	set -l program (string replace -r '^~/' "$HOME/" -- $words[1])
	set -l tab (printf '\t')

	for answer in ($program completion words -- $words[2..-1] $cur 2>/dev/null)
		if string match -q -- "$tab*" $answer
			set -l prefix (string replace -r '^\t\w+ ' '' -- $answer)
			set -l rest (string sub -s (math (string length -- "$prefix") + 1) -- "$cur")
			if string match -q -- "$tab"'files *' $answer
				printf '%s\n' $prefix(__fish_complete_path "$rest")
			else
				printf '%s\n' $prefix(__fish_complete_directories "$rest")
			end
		else
			printf '%s\n' $answer
		end
	end
end

for program in realmtool lkvm
	complete -c $program -f -a '(__realmtool_complete)'
end
