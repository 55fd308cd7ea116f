# SPDX-License-Identifier: BSD-3-Clause
# shellcheck shell=sh disable=SC2154 # rc, G, T, ... come from lib.sh and inside.sh
# Attestation of an emulated realm: an unmodified kernel fetches tokens through tsm/report, and
# "realmtool token" and "realmtool measure" must agree with them.

with_tokens()
{
	"$RT" version | grep -Eq '(libcrypto|tinycbor) +no' && skip "built without tinycbor or libcrypto"
}

# token_of KEY: the token that the guest told in base64
token_of()
{
	sed -n "s/^$1=//p" "$T/rt" | base64 -d >"$1.cbor"
	[ -s "$1.cbor" ] || fail "the guest got no token: $(got error)"
}

# challenge BYTE: 64 times
challenge()
{
	seq 64 | sed "s/.*/$1/" | tr -d '\n'
}

# verified ARG...: "token" with these arguments finds nothing wrong, and says that it is a rehearsal
verified()
{
	rt token "$@"
	[ "$rc" = 0 ] || fail "exit code $rc for token $*: $(sed -n '/^Verified/,$p' "$T/out" | tr '\n' ';')"
	grep -q 'A REHEARSAL' "$T/out" || fail "not called a rehearsal: token $*"
}

# attest [ARG...]: boot with these arguments, and compare
attest()
{
	set -- --realm=emulated -c 2 -m 512 -k "$KERNEL" -i "$TOP/initrd" \
		-p "$CONSOLE panic=-1 quiet rt.test=attest" --emulated-keys "$PWD/keys" "$@"
	rt run "$@"
	answers
	[ "$rc" = 0 ] || fail "exit code $rc: $(tail -n 1 "$T/err"); last words: $(tail -n 1 "$T/out")"
	grep -q '^done' "$T/rt" || fail "the guest did not come to its end"
	want provider arm_cca_guest
	token_of first
	token_of second
	cmp -s first.cbor second.cbor && fail "two challenges, one token"
	rt measure "$@"
	[ "$rc" = 0 ] || fail "measure: exit code $rc: $(tail -n 1 "$T/err")"
	cp "$T/out" measured
	verified --platform-key keys/platform.pem --expect-rim @measured \
		--expect-challenge "$(challenge 41)" first.cbor
	verified --platform-key keys/platform.pem --expect-rim @measured \
		--expect-challenge "$(challenge 42)" second.cbor
	rt token --expect-challenge "$(challenge 42)" first.cbor
	[ "$rc" = 1 ] || fail "exit code $rc for the wrong challenge"
	rt token --platform-key keys/realm.pem first.cbor
	[ "$rc" = 1 ] || fail "exit code $rc for the wrong key"
}

case_attest_tsm()
{
	with_tokens
	attest
	grep -q 'tag:arm.com,2024:realm#2.0.0' first.cbor || fail "no token of RMM 2.0"
	[ "$(stat -c %a keys/realm.pem)" = 600 ] || fail "the key's mode is $(stat -c %a keys/realm.pem)"
}

# the older claims, another hash, and what the owner says of the realm
case_attest_rmm_1_0()
{
	with_tokens
	attest --rmm 1.0 --measurement-algo sha512 --realm-pv-hex "$(challenge 07)"
	grep -q 'tag:arm.com,2023:realm#1.0.0' first.cbor || fail "no token of RMM 1.0"
	rt token --json first.cbor
	grep -q "\"rpv\": \"$(challenge 07)\"" "$T/out" || fail "another personalization value"
	grep -q '"hash_algorithm": "sha-512"' "$T/out" || fail "another hash algorithm"
}

case_attest_bad_keys()
{
	with_tokens
	mkdir keys
	echo junk >keys/realm.pem
	cp "$G/hello.flat" .
	bad 'keys/realm.pem.*P-384' run --realm=emulated -k hello.flat --emulated-keys keys
	bad 'nowhere/keys' run --realm=emulated -k hello.flat --emulated-keys nowhere/keys
}

# nothing but a token is taken for one
case_attest_bad_token()
{
	with_tokens
	: >empty
	bad 'empty' token empty
	bad 'no CCA token' token "$G/hello.flat"
	bad 'No such file' token nowhere
	head -c 70000 /dev/zero >large
	bad 'no CCA token' token large
	bad 'needs a file' token
}
