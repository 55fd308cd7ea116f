# SPDX-License-Identifier: BSD-3-Clause
# The same with a host kernel of the series v14, whose realms have the LPA2 flag.
breakpoints = 6
breakpoints-fixed = yes
watchpoints = 4
pmu-counters = 6
sve-vl = 2048
ipa-bits = 52
lpa2 = yes
rmi-generation = c
