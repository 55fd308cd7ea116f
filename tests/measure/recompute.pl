#!/usr/bin/perl
# SPDX-License-Identifier: BSD-3-Clause
#
# The Realm Initial Measurement once more, from the formulas of the RMM alone: reads plans with their
# contents and what realmtool made of them, and compares each step.
#
#   recompute.pl FILE    FILE: as the unit test test_measure --plans writes it, or run.sh
#
# Lines: plan ID; param KEY VALUE; ram BASE SIZE; piece NAME IPA LEN MEASURED FILE (offset 0);
# step KIND NAME CONTENT RIM; rim HEX; end. Pieces and ranges are in ascending order.
# Last line: "N passed, N failed".

use strict;
use warnings;
no warnings 'portable';		# 64-bit numbers
use Digest::SHA qw(sha256 sha384 sha512);

use constant PAGE => 4096;

my %hash = (256 => \&sha256, 384 => \&sha384, 512 => \&sha512);
my %hash_id = (256 => 0, 512 => 1, 384 => 2);
my ($passed, $failed) = (0, 0);

# bytes with fields at offsets: layout(SIZE, OFFSET => BYTES, ...)
sub layout
{
	my ($size, %at) = @_;
	my $bytes = "\0" x $size;

	substr($bytes, $_, length $at{$_}) = $at{$_} for keys %at;
	return $bytes;
}

sub u64 { return pack('Q<', $_[0]) }

# measurement descriptor: type, length, measurement so far, fields
sub extend
{
	my ($p, $type, %at) = @_;

	$p->{rim} = $p->{h}->(layout(256, 0 => chr $type, 8 => u64(256), 16 => $p->{rim}, %at));
}

sub create
{
	my ($p) = @_;
	my %v = %{$p->{param}};

	$p->{h} = $hash{$v{algo}};
	if ($v{dialect} eq '2.0') {
		$p->{rim} = "\0" x ($v{algo} / 8);
		return;
	}
	$p->{rim} = $p->{h}->(layout(PAGE,
		0x00 => u64(($v{lpa2} ? 1 : 0) + ($v{sve} ? 2 : 0) + ($v{pmu} ? 4 : 0)),
		0x08 => chr $v{s2sz}, 0x10 => chr $v{sve_vl}, 0x18 => chr $v{num_bps},
		0x20 => chr $v{num_wps}, 0x28 => chr $v{pmu_ctrs}, 0x30 => chr $hash_id{$v{algo}}));
}

sub rec
{
	my ($p) = @_;
	my %v = %{$p->{param}};
	my $page = layout(PAGE, 0 => u64(1), 0x200 => u64($v{pc}),
		map { (0x300 + 8 * $_ => u64($v{"x$_"})) } 0 .. 7);

	extend($p, 1, 0x50 => $p->{h}->($page));
}

# ---- the translation tables of the realm -----------------------------------------------------

# The table of a level that translates an address; it exists in %{$p->{table}}. Up to 16 tables
# stand at the first level, so four bits of the address are free.
sub table_of
{
	my ($level, $ipa) = @_;
	my $bits = 12 + 9 * (4 - $level);

	return "$level:" . ($ipa >> $bits);
}

sub first_level
{
	my ($s2sz) = @_;

	return 4 - int(($s2sz - 8) / 9);
}

# where the walk to an address ends
sub walk
{
	my ($p, $ipa) = @_;
	my $level = first_level($p->{param}{s2sz});

	$level++ while $level < 3 && $p->{table}{table_of($level + 1, $ipa)};
	return $level;
}

sub make_tables
{
	my ($p, $ipa, $down_to) = @_;

	for my $level (first_level($p->{param}{s2sz}) + 1 .. $down_to) {
		$p->{table}{table_of($level, $ipa)} = 1;
	}
}

# RTT_INIT_RIPAS over a range, as KVM drives it: an entry that is not wholly in the range gets a table
sub ripas
{
	my ($p, $base, $size) = @_;
	my $top = $base + $size;

	while ($base < $top) {
		my $level = walk($p, $base);
		my $entry = 1 << (12 + 9 * (3 - $level));

		if ($base % $entry || $base + $entry > $top) {
			make_tables($p, $base, $level + 1);
			next;
		}
		# a page with data is RAM already and passed over
		extend($p, 2, 0x50 => u64($base), 0x58 => u64($base + $entry))
			unless $p->{data}{$base};
		$base += $entry;
	}
}

# ---- a plan -----------------------------------------------------------------------------------

sub step
{
	my ($p, $kind, $name, $content) = @_;

	push @{$p->{done}}, join ' ', 'step', $kind, $name, $content, unpack('H*', $p->{rim});
}

sub ripas_all
{
	my ($p) = @_;

	for (@{$p->{ram}}) {
		ripas($p, @$_);
		step($p, 'ripas', '-', '-');
	}
}

sub piece
{
	my ($p, $name, $ipa, $len, $measured, $file) = @_;
	my $all = '';

	open my $in, '<:raw', $file or die "$file: $!\n";
	for (my $off = 0; $off < $len; $off += PAGE) {
		my $want = $len - $off < PAGE ? $len - $off : PAGE;
		my $digest = '';

		read($in, my $page, $want) == $want or die "$file is too short\n";
		if ($measured) {
			$digest = $p->{h}->($page . "\0" x (PAGE - $want));
			$all .= $digest;
		}
		make_tables($p, $ipa + $off, 3);
		$p->{data}{$ipa + $off} = 1;
		extend($p, 0, 0x50 => u64($ipa + $off), 0x58 => u64($measured), 0x60 => $digest);
	}
	close $in;
	step($p, 'data', $name, $measured ? unpack('H*', $p->{h}->($all)) : '-');
}

sub finish
{
	my ($p) = @_;
	my $a = $p->{param}{dialect} eq '1.0';
	my $bad;

	create($p);
	step($p, 'create', '-', '-');
	ripas_all($p) if $a && !$p->{param}{last};
	piece($p, @$_) for @{$p->{piece}};
	rec($p);
	step($p, 'rec', '-', '-');
	ripas_all($p) if $a && $p->{param}{last};

	my @theirs = @{$p->{step}};
	my @ours = @{$p->{done}};
	while (@ours || @theirs) {
		my ($ours, $theirs) = (shift @ours // 'nothing', shift @theirs // 'nothing');
		next if $ours eq $theirs;
		print "not ok - $p->{id}: here \"$ours\", there \"$theirs\"\n";
		$bad = 1;
		last;
	}
	if (!$bad && unpack('H*', $p->{rim}) ne $p->{rim_theirs}) {
		print "not ok - $p->{id}: another measurement\n";
		$bad = 1;
	}
	$bad ? $failed++ : $passed++;
}

my $p;
while (<>) {
	my ($word, @arg) = split ' ';

	if ($word eq 'plan') {
		$p = { id => $arg[0], ram => [], piece => [], step => [], done => [], table => {} };
	} elsif ($word eq 'param') {
		$p->{param}{$arg[0]} = $arg[1] =~ /^0x/ ? oct $arg[1] : $arg[1];
	} elsif ($word eq 'ram' || $word eq 'piece') {
		push @{$p->{$word}}, [map { /^0x/ ? oct : $_ } @arg];
	} elsif ($word eq 'step') {
		push @{$p->{step}}, join ' ', $word, @arg;
	} elsif ($word eq 'rim') {
		$p->{rim_theirs} = $arg[0];
	} elsif ($word eq 'end') {
		finish($p);
	} else {
		die "line $.: $word?\n";
	}
}
print "$passed passed, $failed failed\n";
exit($failed || !$passed ? 1 : 0);
