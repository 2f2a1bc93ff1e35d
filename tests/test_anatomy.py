from paraspinal_nnunet.anatomy import (
    ALL_STRUCTURES,
    BY_KEY,
    COARSE,
    LABEL_SCHEMES,
    MUSCLE_CODES,
    PARASPINAL,
    SIDE_CODES,
    STRUCTURES,
    Muscle,
    Side,
    opposite,
    side_pairs,
)


def test_canonical_order_is_the_authors():
    """The authors' public code numbers MF R/L 1/2, ES R/L 3/4, PM R/L 5/6."""
    assert [s.abbreviation for s in PARASPINAL] == ["MF_R", "MF_L", "ES_R", "ES_L", "PM_R", "PM_L"]
    assert [s.label for s in STRUCTURES] == list(range(1, 9))
    assert [s.label for s in ALL_STRUCTURES] == list(range(1, 15))


def test_coarse_classes_are_none_of_the_single_muscles():
    assert [s.abbreviation for s in COARSE] == ["ESMF_R", "ESMF_L", "AUT_R", "AUT_L", "IP_R", "IP_L"]
    assert BY_KEY["erector_spinae_and_multifidus_left"].display_name == "Erector spinae and multifidus left"
    assert not {s.muscle for s in COARSE} & {s.muscle for s in STRUCTURES}


def test_colours_follow_the_papers_figures():
    """Orange, blue, green; the right side darker than the left (Figures 3 and 4)."""
    for right, left in side_pairs(ALL_STRUCTURES):
        assert sum(right.colour) < sum(left.colour)
    red, green, blue = BY_KEY["multifidus_right"].colour
    assert red > green > blue
    red, green, blue = BY_KEY["erector_spinae_right"].colour
    assert blue > green > red
    red, green, blue = BY_KEY["psoas_major_right"].colour
    assert green > max(red, blue)
    assert len({s.colour for s in ALL_STRUCTURES}) == len(ALL_STRUCTURES)


def test_musclemap_codes_end_in_one_for_left_and_two_for_right():
    for value, key in LABEL_SCHEMES["musclemap"].values.items():
        assert key.endswith("left" if value % 10 == 1 else "right")


def test_lpm_scheme_has_no_psoas():
    assert {s.muscle for s in LABEL_SCHEMES["lpm"].structures} == {Muscle.MULTIFIDUS, Muscle.ERECTOR_SPINAE}
    assert LABEL_SCHEMES["lpm"].values[4] == "erector_spinae_left"


def test_every_scheme_maps_to_known_keys():
    for scheme in LABEL_SCHEMES.values():
        assert set(scheme.values.values()) <= set(BY_KEY)
        assert len(set(scheme.values.values())) == len(scheme.values)


def test_opposite_is_its_own_inverse():
    assert all(opposite(opposite(s)) == s and opposite(s).muscle is s.muscle for s in ALL_STRUCTURES)
    assert len(side_pairs(PARASPINAL)) == 3
    assert side_pairs(PARASPINAL[:1]) == ()


def test_every_structure_has_codes():
    assert set(MUSCLE_CODES) == set(Muscle)
    assert {code.meaning for code in SIDE_CODES.values()} == {"Right", "Left"}
    assert SIDE_CODES[Side.RIGHT].value == "24028007"
