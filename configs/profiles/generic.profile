# SPDX-License-Identifier: BSD-3-Clause
# What every host of the architecture has. The same as no profile, but requests beyond it are
# refused: no SVE, no PMU.
pmu-counters = 0
sve-vl = 0
lpa2 = no
