"""Counts kills and full disks over all verbs: ``python -m helpers.faults.hunt FOLDER`` from the folder ``tests``.

Disks are real ones of memory, which only root may mount; without --disks there are none.
"""

import argparse
import random
import sys
from pathlib import Path

from helpers.faults import disks, kills, out_of, prepare_output
from helpers.faults.verbs import VERBS

SHARES = (0.5,)
"""How much of what a verb writes its small disks can hold."""


def hunt_kills(verb, folder, count, chance):
    """Faults of so many kills, in all ways in turn."""
    expected, first, seconds = kills.undisturbed(verb, folder)
    found = []
    for number in range(count):
        way = kills.WAYS[number % len(kills.WAYS)] if number else "kill"
        early = chance.random() < 0.15
        moment = chance.uniform(0.0, first) if early else chance.uniform(first, seconds)
        fault = kills.kill_and_rerun(verb, folder, moment, expected, way=way, chance=chance)
        found.append((f"{way} after {moment:.1f} s", fault))
    return seconds, found


def hunt_disks(verb, folder):
    """Faults of small disks and of one that cannot be written."""
    expected, _, seconds = kills.undisturbed(verb, folder)
    before = disks.size_kb(folder)
    prepare_output(verb, folder)
    grown = before - disks.size_kb(folder)
    found = []
    for share in SHARES:
        kilobytes = max(8, int(grown * share))
        fault, said = disks.fault_of_full_disk(verb, folder, kilobytes, expected)
        found.append((f"{kilobytes} of {grown} kB: {said}", fault))
    fault, said = disks.fault_of_fixed_disk(verb, folder)
    return seconds, [*found, (f"read-only: {said}", fault)]


def main():
    """Go over the verbs; 1 where one broke the rule."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--kills", type=int, default=2, help="per verb")
    parser.add_argument("--disks", action="store_true", help="small and read-only disks instead of kills")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--verbs", nargs="*", choices=[*VERBS])
    args = parser.parse_args()
    folder, chance, total, faults = args.folder.resolve(), random.Random(args.seed), 0, 0
    folder.mkdir(parents=True, exist_ok=True)
    out_of(folder).mkdir(exist_ok=True)
    for name in args.verbs or VERBS:
        try:
            verb = VERBS[name](folder)
            seconds, found = hunt_disks(verb, folder) if args.disks else hunt_kills(verb, folder, args.kills, chance)
        except RuntimeError as error:
            seconds, found = 0.0, [("undisturbed", str(error))]
        total, faults = total + len(found), faults + sum(bool(fault) for _, fault in found)
        print(
            f"{name} ({seconds:.1f} s): {len(found)}, {'all well' if not any(f for _, f in found) else ''}", flush=True
        )
        for what, fault in found:
            print(f"  {'FAULT ' if fault else ''}{what}{': ' if fault else ''}{fault}", flush=True)
    print(f"{total} in all, {faults} faults")
    return int(faults > 0)


if __name__ == "__main__":
    sys.exit(main())
