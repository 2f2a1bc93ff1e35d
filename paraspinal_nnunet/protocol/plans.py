"""What our plans files carry beside nnU-Net's own entries, and how a trainer reads it back."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from paraspinal_nnunet.errors import ProtocolError
from paraspinal_nnunet.protocol.overrides import check_overrides, override
from paraspinal_nnunet.protocol.paper import ORTHOGONAL, SECTION_OF_CONFIGURATION, Protocol, Sampling
from paraspinal_nnunet.utils.forms import ANY, check_form

ENTRY = "paraspinal"
"""Key in the plans file; plans without it were not written by `paraspinal plan`."""

BASELINE_ENTRY = "paraspinal_baseline"
"""Key in nnU-Net's own plans under which the length of a baseline's training travels."""

PLANS_FORM = {"dataset_name": str, "plans_name": str, "configurations": {ANY: dict}}
"""What all plans have, nnU-Net's own too."""

_FORM = {"version": str, "overrides": dict, "adapted": {ANY: str}}
_NUMBERS = {"spacing": [float], "patch_size": [int], "batch_size": int}

DEFAULT_NAME = "ParaspinalPlans"
BASELINE_NAME = "nnUNetPlans"


@dataclass(frozen=True)
class PlansEntry:
    """The content of `ENTRY`.

    Attributes:
        version: Version of this package that planned.
        overrides: What the user changed against the paper, by protocol key.
        adapted: Protocol key -> why the data set asked for another value than the paper's.
    """

    version: str
    overrides: Mapping[str, Any] = field(default_factory=dict)
    adapted: Mapping[str, str] = field(default_factory=dict)

    @classmethod
    def of(cls, plans: Mapping[str, Any]) -> "PlansEntry | None":
        """Read it from plans, or None when they are not ours.

        Raises:
            ProtocolError: An entry of another form, or settings that cannot be.
        """
        content = plans.get(ENTRY)
        if content is None:
            return None
        check_form(content, _FORM, f"plans '{plans.get('plans_name')}'", advice="plan again", kind=ProtocolError)
        check_overrides(content["overrides"])
        return cls(content["version"], content["overrides"], content["adapted"])

    def to_json(self) -> dict[str, Any]:
        """As the plans file holds it."""
        return {"version": self.version, "overrides": dict(self.overrides), "adapted": dict(self.adapted)}


def network_dimensions(protocol: Protocol, configuration: str) -> dict[str, int]:
    """Of a configuration's network: its dimensions, how many slices it sees at once, and in how many planes."""
    stacked = {"2.5d": protocol.sampling_25d.slices, ORTHOGONAL: protocol.sampling_orthogonal.slices}
    slices = stacked.get(configuration, 1)
    planes = 3 if configuration == ORTHOGONAL else 1
    return {"spatial_dims": 3 if configuration == "3d_fullres" else 2, "slices": slices, "planes": planes}


def downsampled_edges(patch_size: Sequence[int], configuration: str) -> tuple[int, ...]:
    """The edges of a patch that the network halves and doubles: in 2.5d not the slices."""
    return tuple(patch_size[-2:] if configuration == "2.5d" else patch_size)


def resolve(settings: Protocol, plans: Mapping[str, Any], configuration: str | None = None) -> Protocol:
    """The protocol in force: a trainer's own settings, then the overrides in the plans, then the plans' numbers.

    Args:
        settings: What the trainer's name stands for.
        plans: Plans with `ENTRY`.
        configuration: Whose patch and batch size to take from the plans; None leaves both configurations as they are.

    Raises:
        ProtocolError: Plans of another form, or settings that cannot be.
    """
    entry = PlansEntry.of(plans)
    protocol = override(settings, entry.overrides if entry else {})
    if configuration is None:
        return protocol
    called = f"plans '{plans.get('plans_name')}'"
    form = {"configurations": {configuration: _NUMBERS}}
    check_form(plans, form, called, advice="plan again", kind=ProtocolError)
    numbers = plans["configurations"][configuration]
    if len(numbers["spacing"]) != 3:
        raise ProtocolError(f"{called}: {configuration} has the spacing {numbers['spacing']}; plan again")
    z, y, x = (float(s) for s in numbers["spacing"])
    sampling: Sampling = replace(
        protocol.sampling(configuration),
        patch_size=tuple(numbers["patch_size"]),
        batch_size=max(1, round(numbers["batch_size"] * protocol.training.batch_factor)),
    )
    protocol = replace(protocol, preprocessing=replace(protocol.preprocessing, spacing=(z, y, x)))
    sections: dict[str, Any] = {SECTION_OF_CONFIGURATION[configuration]: sampling}
    return replace(protocol, **sections)
