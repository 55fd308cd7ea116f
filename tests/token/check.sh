#!/bin/sh
# SPDX-License-Identifier: BSD-3-Clause
#
# A token of realmtool's, checked by others: taken apart with a few lines of Perl, its signatures and
# the binding verified with the openssl command, and the same read by "realmtool token".
#
#   check.sh TEST_TOKEN REALMTOOL     the unit test program, which makes the token, and the command
#
# shellcheck disable=SC2317 # functions are called through ok
#
# Last line: "N passed, N failed".

set -u
test_token=$1 rt=$2
tmp=$(mktemp -d) || exit 1
trap 'rm -rf "$tmp"' EXIT
passed=0 failed=0

ok() # NAME COMMAND...
{
	name=$1
	shift
	if "$@" >"$tmp/log" 2>&1; then
		echo "ok - $name"
		passed=$((passed + 1))
	else
		echo "not ok - $name"
		sed 's/^/# /' "$tmp/log"
		failed=$((failed + 1))
	fi
}

finish()
{
	echo "$passed passed, $failed failed$1"
	[ $failed = 0 ]
	exit
}

# without the libraries it says so in one line
if "$rt" version | grep -Eq "(libcrypto|tinycbor) +no"; then
	ok "refused" sh -c "'$rt' token '$0' 2>&1 | grep '^Fatal: .*built without'"
	finish ", 1 skipped"
fi

TOKEN_OUT=$tmp "$test_token" >"$tmp/log" 2>&1 || { cat "$tmp/log"; failed=1; finish ""; }

# Leaves of the token: platform.tbs, platform.sig (DER), platform.challenge, realm.*, realm.rak
cat >"$tmp/split.pl" <<'END'
use strict; use warnings;
my ($dir) = @ARGV;
sub slurp { local (@ARGV, $/) = @_; binmode ARGV; <> }
sub put { open my $f, '>:raw', "$dir/$_[0]" or die; print $f $_[1] or die; close $f or die }
sub head { my ($major, $n) = @_; $major <<= 5;
	$n < 24 ? pack('C', $major | $n) : $n < 256 ? pack('CC', $major | 24, $n) :
	pack('Cn', $major | 25, $n) }
# One item from the front of $$s: [kind, value]
sub item {
	my ($s) = @_;
	my $b = ord substr($$s, 0, 1, '');
	my ($major, $n) = ($b >> 5, $b & 31);
	if ($n >= 24) {
		my $len = 1 << ($n - 24);
		$n = 0;
		$n = $n * 256 + ord for split //, substr($$s, 0, $len, '');
	}
	return $n if $major == 0;
	return -1 - $n if $major == 1;
	return substr($$s, 0, $n, '') if $major == 2 || $major == 3;
	return [map { item($s) } 1 .. $n] if $major == 4;
	return {map { item($s) } 1 .. 2 * $n} if $major == 5;
	return [$n, item($s)] if $major == 6;	# a tag
	die "major type $major";
}
sub all { my ($s) = @_; my $v = item(\$s); die "something follows" if length $s; $v }
my $t = all(slurp("$dir/token.cbor"));
die "tag" unless $t->[0] == 907;
my %label = (platform => 44234, realm => 44241);
for my $name (keys %label) {
	my ($type, $bytes) = @{$t->[1]{$label{$name}}};
	die "type" unless $type == 263;
	my $cose = all($bytes);
	die "no COSE_Sign1" unless $cose->[0] == 18;
	my ($protect, $free, $payload, $sig) = @{$cose->[1]};
	die "algorithm" unless all($protect)->{1} == -35;
	put("$name.tbs", head(4, 4) . head(3, 10) . 'Signature1' . head(2, length $protect) .
		$protect . head(2, 0) . head(2, length $payload) . $payload);
	# r and s as ASN.1: positive, no needless zeros
	my $der = '';
	for my $half (unpack("a48 a48", $sig)) {
		$half =~ s/^\0+//;
		$half = "\0$half" if ord $half > 127;
		$der .= pack('CC', 2, length $half) . $half;
	}
	put("$name.sig", pack('CC', 0x30, length $der) . $der);
	my $claims = all($payload);
	put("$name.challenge", $claims->{10});
	put("realm.rak", $claims->{44237}) if $name eq 'realm';
	put("realm.rim", $claims->{44238}) if $name eq 'realm';
	put("$name.id", $claims->{2396}) if $name eq 'platform';
	die "secured" if $name eq 'platform' && $claims->{2395} >> 8 == 0x30;
}
my $key = all(slurp("$dir/realm.rak"));
put('rak.point', "\4$key->{-2}$key->{-3}");
END
ok "Perl takes it apart" perl "$tmp/split.pl" "$tmp"
[ $failed = 0 ] || finish ""
for k in platform realm; do
	ok "$k.pem is a key for openssl" openssl pkey -in "$tmp/$k.pem" -pubout -out "$tmp/$k.pub"
	ok "openssl verifies the $k token" openssl dgst -sha384 -verify "$tmp/$k.pub" \
		-signature "$tmp/$k.sig" "$tmp/$k.tbs"
done
openssl dgst -sha256 -binary "$tmp/realm.rak" >"$tmp/hash"
ok "the platform's challenge is the hash of the realm's key" cmp "$tmp/hash" "$tmp/platform.challenge"
openssl pkey -pubin -in "$tmp/realm.pub" -outform DER | tail -c 97 >"$tmp/point"
ok "the realm token names its key" cmp "$tmp/point" "$tmp/rak.point"
printf 'realmtool rehearsal: NO SECURITY' >"$tmp/id"
ok "the implementation is a rehearsal" cmp "$tmp/id" "$tmp/platform.id"

# and by the command
hex() { od -An -v -tx1 "$1" | tr -d ' \n'; }
rim=$(hex "$tmp/realm.rim")
challenge=$(hex "$tmp/realm.challenge")
code() # CODE ARG...
{
	want=$1
	shift
	"$rt" token "$@"
	[ $? = "$want" ]
}
ok "realmtool reads it" code 0 "$tmp/token.cbor"
ok "from the standard input" sh -c "'$rt' token - <'$tmp/token.cbor'"
ok "a platform key" code 0 --platform-key "$tmp/platform.pub" "$tmp/token.cbor"
ok "a private one" code 0 --platform-key "$tmp/platform.pem" "$tmp/token.cbor"
ok "another key" code 1 --platform-key "$tmp/realm.pub" "$tmp/token.cbor"
ok "the measurement" code 0 --expect-rim "$rim" "$tmp/token.cbor"
ok "another measurement" code 3 --expect-rim "${rim%????}0000" "$tmp/token.cbor"
ok "another one, and another key" code 1 --expect-rim "${rim%????}0000" \
	--platform-key "$tmp/realm.pub" "$tmp/token.cbor"
ok "the challenge" code 0 --expect-challenge "$challenge" "$tmp/token.cbor"
ok "a part of it" code 1 --expect-challenge "${challenge%??}" "$tmp/token.cbor"
ok "no token" code 128 "$tmp/platform.sig"
ok "no file" code 128 "$tmp/nowhere"
ok "wrong hexadecimal" code 128 --expect-challenge xyz "$tmp/token.cbor"
ok "no key" code 128 --platform-key "$tmp/token.cbor" "$tmp/token.cbor"
"$rt" token --json --platform-key "$tmp/platform.pub" "$tmp/token.cbor" >"$tmp/json"
has() { grep -q "$1" "$tmp/json"; }
ok "JSON: a rehearsal" has '"rehearsal": true'
ok "JSON: verified" has '"platform_signature": true'
ok "JSON: not asked for" has '"challenge": null'
ok "JSON: the measurement" has "\"rim\": \"$rim\""
"$rt" token "$tmp/token.cbor" >"$tmp/json"
ok "text: a rehearsal" has 'A REHEARSAL'
ok "text: the platform's signature is open" has 'was not checked'
# text of somebody else's: nothing of it commands the terminal
perl -pe 's/realmtool, not/\e[2J\x9b2J\a\n\r not/' "$tmp/token.cbor" >"$tmp/evil.cbor"
"$rt" token "$tmp/evil.cbor" >"$tmp/json"
clean() { has "measured" && ! LC_ALL=C grep -q "[^ -~]" "$tmp/json"; }
ok "text: no control characters" clean
finish ""
