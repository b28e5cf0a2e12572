"""Proves all claims of the Verilog modules, and shows what their proofs find of faults.

    python -m benchmarks.rtl_proofs
    python -m benchmarks.rtl_proofs --modules=rows,windows

A line for each module: the parameters that were proven, and the faults, one at a time, of which
none may be proven.
"""

import argparse

from flightnn_jax.rtl import prove
from tests.rtl import faults


def main() -> int:
    """Prints the table; the exit code is 1 if a claim does not hold or a fault was proven."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    known = list(dict.fromkeys(claim.harness for claim in prove.CLAIMS))
    parser.add_argument("--modules", default=",".join(known), help="without fl_")
    given = parser.parse_args()
    print("| module | claims proven | faults found | Yosys (s) |")
    print("|---|---|---|---|")
    right = True
    for name in given.modules.split(","):
        claims = [prove.prove(claim) for claim in prove.CLAIMS if claim.harness == name]
        wrong = [faults.verdict(*fault) for fault in faults.ALL if fault[0] == name]
        proven = sum(verdict.proven for verdict in claims)
        found = sum(not verdict.proven for verdict in wrong)
        right = right and proven == len(claims) and found == len(wrong)
        seconds = sum(verdict.seconds for verdict in claims)
        cells = [f"`fl_{name}`", f"{proven} of {len(claims)}", f"{found} of {len(wrong)}"]
        print("| " + " | ".join([*cells, f"{seconds:.1f}"]) + " |", flush=True)
    return 0 if right else 1


if __name__ == "__main__":
    raise SystemExit(main())
